"""`martlet datasets`."""

import argparse
import json
import re

import pytest

from apps.cli import datasets
from apps.cli.main import dispatch
from components.data.catalogue import entries, tasks
from components.errors import ConfigError


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert dispatch(["datasets", *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 120])
def test_all_are_listed_within_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = shown(capsys)
    assert max(map(len, text.splitlines())) <= width
    assert f"{len(entries())} datasets" in text
    assert re.search(r"^swift/self-cognition +sft +108 +59", text, re.MULTILINE)
    assert re.search(r"^AI-ModelScope/pile +pt +huge", text, re.MULTILINE)


def test_a_pipe_gets_a_line_for_each(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = shown(capsys, "chat").splitlines()
    assert len(lines) == sum("chat" in text for text in lines) + 2  # the header and the count
    assert any(re.search(r"alpaca-gpt4-data-en +sft +52,002 +168 +chat, general +CC-BY-NC-4.0", line) for line in lines)


def test_searching_in_words_and_task(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(shown(capsys, "zh", "--task", "dpo", "--json"))
    assert [entry["name"] for entry in found] == [
        "AI-ModelScope/zhihu_rlhf_3k",
        "hjh0119/shareAI-Llama3-DPO-zh-en-emoji",
    ]
    assert found[0] == {
        "name": "AI-ModelScope/zhihu_rlhf_3k",
        "task": "dpo",
        "modelscope": "AI-ModelScope/zhihu_rlhf_3k",
        "huggingface": "liyucheng/zhihu_rlhf_3k",
        "split": "train",
        "rows": 3460,
        "mean_tokens": 594.5,
        "tags": ["rlhf", "dpo", "zh"],
    }


def test_a_single_one_is_shown_whole(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    text = shown(capsys, "SELF-cognition")
    for line in (
        "subsets +default, qwen3, empty_think",
        "licence +Apache-2.0",
        "help +{{NAME}} and {{AUTHOR}} are filled with --model_name and --model_author",
    ):
        assert re.search(line, text), line
    assert re.search(
        "columns +problem → query, solution → response, answer → left out", shown(capsys, "NuminaMath-1.5")
    )


def test_nothing_found_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"self-cogniton \(did you mean 'self-cognition'\?\)"):
        dispatch(["datasets", "self-cogniton"])
    with pytest.raises(ConfigError, match=r"no built-in dataset for kto has all of: medical; `martlet datasets` lists"):
        dispatch(["datasets", "medical", "--task", "kto"])


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(ConfigError, match=r"--task must be one of dpo, .*, sft \(did you mean 'dpo'\?\)"):
        dispatch(["datasets", "--task", "dop"])


def test_help_names_every_task() -> None:
    parser = argparse.ArgumentParser()
    datasets.add_arguments(parser)
    named = re.search(r"only datasets for this task: ([\w, ]+)", " ".join(parser.format_help().split()))
    assert named and set(re.findall(r"\w+", named[1])) >= set(tasks())
