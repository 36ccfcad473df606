"""Built-in datasets and those of a dataset_info.json on their way through `resolve` and `collect_rows`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from components.config.groups.data import Data
from components.data import collect_rows, resolve
from components.data.catalogue import find
from components.errors import ConfigError

QUESTIONS = [
    {"query": "who are you?", "response": "I am {{NAME}}, made by {{AUTHOR}}.", "tag": "en"},
    {"query": "你是谁？", "response": "我是{{NAME}}，由{{AUTHOR}}训练。", "tag": "zh"},
]


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def resolved(folder: Path, *specs: str, custom: tuple[Path, ...] = ()):
    return resolve(specs, folder, False, {}, folder / "memo.json", custom)


@pytest.mark.parametrize(
    ("subset", "suffix", "thought"), [("", "", ""), ("qwen3", " /no_think", "<think>\n\n</think>\n\n")]
)
def test_self_cognition_is_filled_with_name_and_author(tmp_path: Path, subset: str, suffix: str, thought: str) -> None:
    write(tmp_path / "rows.jsonl", QUESTIONS)
    entry = find("swift/self-cognition")
    assert entry
    (local,) = resolved(tmp_path, "rows.jsonl")
    source = replace(local, parts=tuple(entry.parts([subset] if subset else [])))
    data = Data(model_name=["Robin", "知更鸟"], model_author=["the team", "团队"], dataset_shuffle=False)
    rows = [json.loads(raw) for _, _, raw in collect_rows([source], [], data, tmp_path).tables["train"]]
    messages = [
        row["messages"] if subset else [{"content": row["query"]}, {"content": row["response"]}] for row in rows
    ]
    assert [[message["content"] for message in pair] for pair in messages] == [
        [f"who are you?{suffix}", f"{thought}I am Robin, made by the team."],
        [f"你是谁？{suffix}", f"{thought}我是知更鸟，由团队训练。"],
    ]


def test_a_built_in_dataset_resolves_to_its_id_on_the_hub_that_is_asked(tmp_path: Path) -> None:
    (source,) = resolved(tmp_path, "hf::self-cognition:qwen3#20")
    assert (source.hub, source.name, source.rows) == ("huggingface", "modelscope/self-cognition", 20)
    assert [(part.subsets, part.converter) for part in source.parts] == [(("default",), "texts.self_cognition_qwen3")]
    with pytest.raises(ConfigError, match="several subsets"):
        resolved(tmp_path, "swift/sharegpt")


def test_rows_of_a_dataset_info_are_read_as_it_says(tmp_path: Path) -> None:
    folder = tmp_path / "factory"
    folder.mkdir()
    write(folder / "pairs.jsonl", [{"q": f"Question {n}?", "good": "Yes.", "bad": "No."} for n in range(9)])
    columns = {"prompt": "q", "chosen": "good", "rejected": "bad"}
    described = {"pairs": {"file_name": "pairs.jsonl", "ranking": True, "columns": columns, "num_samples": 3}}
    info = folder / "dataset_info.json"
    info.write_text(json.dumps(described))
    data = Data(dataset_shuffle=False)
    found = collect_rows(resolved(tmp_path, "pairs", custom=(info,)), [], data, tmp_path)
    rows = [json.loads(raw) for _, _, raw in found.tables["train"]]
    assert [row["chosen"] for row in rows] == [[{"role": "assistant", "content": "Yes."}]] * 3
    more = collect_rows(resolved(tmp_path, "pairs#5", custom=(info,)), [], data, tmp_path)
    assert len(more.tables["train"]) == 5


def test_rows_that_a_converter_leaves_out_are_counted(tmp_path: Path) -> None:
    entry = find("AI-ModelScope/firefly-train-1.1M")
    assert entry
    rows = [{"kind": kind, "input": "a", "target": "b"} for kind in ("NLI", "Other", "Cot")]
    write(tmp_path / "rows.jsonl", rows)
    (local,) = resolved(tmp_path, "rows.jsonl")
    found = collect_rows([replace(local, parts=(entry,))], [], Data(), tmp_path)
    assert len(found.tables["train"]) == 2
    assert found.manifest["sources"][0]["left_out"] == 1
