"""`martlet sample`: what users type, what they get, and what they are told."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from components.data import read_row
from tests.commands import Command, martlet
from tests.components.media.files import picture

ROOT = Path(__file__).parents[2]
VOWELS = """
def rewards(samples, params):
    return [sum(letter in "aeiou" for letter in sample.completion) / len(sample.completion) for sample in samples]
"""
STOPS = [*"bcdfghjklmnpqrst"]
"""So many letters that most answers of the random model end."""
PROMPTS = [{"messages": [{"role": "user", "content": f"Who is number {i}?"}]} for i in range(6)]


def written(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def rows_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def command(folder: Path, model: Path, *more: object, rows: list[dict[str, Any]] = PROMPTS) -> list[object]:
    """A command that draws eight answers to each prompt; its reward is the share of vowels."""
    (folder / "vowels.py").write_text(VOWELS)
    prompts = written(folder / "prompts.jsonl", rows)
    words = ["sample", "--model", model, "--dataset", prompts, "--num_return_sequences", 8, "--max_new_tokens", 48]
    return [*words, "--stop_words", *STOPS, "--reward_funcs", "vowels", "--external_plugins", "vowels.py", *more]


def test_the_best_answers_are_rows_that_say_where_they_come_from(tiny_model: Path, tmp_path: Path) -> None:
    told = martlet(tmp_path, *command(tmp_path, tiny_model, "--n_best_to_keep", 2, "--score_threshold", 0.05))
    rows = rows_of(tmp_path / "sampled.jsonl")
    assert "answers to 6 prompts" in told
    assert f"{len(rows)} rows in sampled.jsonl" in told
    by_prompt: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        assert read_row(json.dumps(row)) == {"messages": row["messages"]}
        question, answer = (message["content"] for message in row["messages"])
        by_prompt.setdefault(question, []).append(row["sampled"])
        assert row["sampled"]["score"] == sum(c in "aeiou" for c in answer) / len(answer) > 0.05
        assert row["sampled"]["rewards"] == {"vowels": row["sampled"]["score"]}
        assert row["sampled"]["seed"] == 42
        assert len(row["sampled"]["model_sha256"]) == len(row["sampled"]["settings_sha256"]) == 64
    assert len(by_prompt) > 2
    for origins in by_prompt.values():
        assert len(origins) <= 2
        assert [origin["score"] for origin in origins] == sorted((o["score"] for o in origins), reverse=True)


def test_the_same_command_writes_the_same_file_and_another_seed_another(tiny_model: Path, tmp_path: Path) -> None:
    for name, *more in (("first",), ("again", "--max_batch_size", 3), ("other", "--seed", 7)):
        martlet(tmp_path, *command(tmp_path, tiny_model, "--output_file", f"{name}.jsonl", *more))
    first, again, other = ((tmp_path / f"{name}.jsonl").read_bytes() for name in ("first", "again", "other"))
    assert first == again != other
    one = rows_of(written(tmp_path / "one.jsonl", PROMPTS[3:4]))
    martlet(tmp_path, *command(tmp_path, tiny_model, "--output_file", "alone.jsonl", rows=one))
    same = [row for row in rows_of(tmp_path / "first.jsonl") if row["messages"][0] == one[0]["messages"][0]]
    assert rows_of(tmp_path / "alone.jsonl") == same != []  # it does not matter which other prompts there are


def test_pictures_are_asked_about_and_stay_in_the_rows(sighted_model: Path, tmp_path: Path) -> None:
    for n in (1, 2):
        (tmp_path / f"{n}.png").write_bytes(picture(n, (64, 48)))
    rows: list[dict[str, Any]] = [{"query": "<image>What?", "images": [f"{n}.png"]} for n in (1, 2)]
    rows += [{"query": "Who?"}]
    words = ["--temperature", 0.1, "--score_threshold", -1, "--n_best_to_keep", 1, "--output_file"]
    martlet(tmp_path, *command(tmp_path, sighted_model, *words, "one.jsonl", rows=rows))
    sampled = rows_of(tmp_path / "one.jsonl")
    assert [Path(row["images"][0]["path"]).name for row in sampled if "images" in row] == ["1.png", "2.png"]
    assert [row["messages"][0]["content"] for row in sampled] == ["<image>What?", "<image>What?", "Who?"]
    assert read_row(json.dumps(sampled[0]))["images"] == sampled[0]["images"]
    shutil.copyfile(tmp_path / "2.png", tmp_path / "1.png")  # the answers are those to what is shown
    martlet(tmp_path, *command(tmp_path, sighted_model, *words, "two.jsonl", rows=rows))
    others = rows_of(tmp_path / "two.jsonl")
    assert others[0]["messages"] == others[1]["messages"] == sampled[1]["messages"] != sampled[0]["messages"]


def test_pairs_are_learned_by_dpo(tiny_model: Path, tmp_path: Path) -> None:
    words = command(tmp_path, tiny_model, "--sampler_engine", "transformers", "--output_file", "pairs.jsonl")
    martlet(tmp_path, *words, "--sample_format", "preference", "--easy_query_threshold", 1.0)
    pairs = rows_of(tmp_path / "pairs.jsonl")
    for row in pairs:
        best, worst = (row["sampled"][side] for side in ("chosen", "rejected"))
        assert (best["rank"], worst["rank"]) >= (1, 2)
        assert row["margin"] == best["score"] - worst["score"] > 0
        canonical = {name: row[name] for name in ("prompt", "chosen", "rejected")}
        assert read_row(json.dumps(row)) == canonical | {"extra": {"margin": row["margin"]}}
    flags = ["--max_steps", 1, "--report_to", "none", "--on_language", "ignore"]
    told = martlet(tmp_path, "rlhf", "--rlhf_type", "dpo", "--model", tiny_model, "--dataset", "pairs.jsonl", *flags)
    assert "step 1/1 " in told


def test_an_interrupted_command_is_gone_on_with(tiny_model: Path, tmp_path: Path) -> None:
    words = command(tmp_path, tiny_model, "--max_batch_size", 1, "--num_return_sequences", 20)
    martlet(tmp_path, *words, "--output_file", "whole.jsonl")
    program = Command(tmp_path, *words)
    part = tmp_path / "sampled.jsonl.part"
    deadline = time.monotonic() + 300
    while not (part.is_file() and part.read_bytes().count(b"\n") > 9) and time.monotonic() < deadline:
        time.sleep(0.02)
    program.signal(signal.SIGKILL)
    assert program.wait(60).returncode != 0
    there = part.read_bytes().count(b"\n") - 1
    assert 8 < there < 6 * 20
    part.write_bytes(part.read_bytes() + b'{"text": "cut o')
    martlet(tmp_path, *words)
    assert (tmp_path / "sampled.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert not part.exists()


def test_answers_are_judged_again_without_being_drawn_again(tiny_model: Path, tmp_path: Path) -> None:
    words = command(tmp_path, tiny_model)
    error = martlet(tmp_path, *words, "--score_threshold", 1, code=1)
    assert re.search(r"nothing is kept: of \d+ answers 0 are above --score_threshold", error)
    part = tmp_path / "sampled.jsonl.part"
    header, *lines = part.read_bytes().splitlines()
    first = json.loads(lines[0]) | {"text": "aaa", "message": {"role": "assistant", "content": "aaa"}}
    first["is_truncated"] = False
    part.write_bytes(b"\n".join([header, json.dumps(first).encode(), *lines[1:], b""]))
    martlet(tmp_path, *words, "--prm_threshold", 0.9)  # ms-swift's name
    assert rows_of(tmp_path / "sampled.jsonl")[0]["messages"][1]["content"] == "aaa"
    martlet(tmp_path, *words, "--output_file", "more.jsonl", "--reward_funcs", "vowels", "repetition")
    assert {*rows_of(tmp_path / "more.jsonl")[0]["sampled"]["rewards"]} == {"vowels", "repetition"}


def test_a_rows_own_answer_is_what_accuracy_compares_with(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"query": "2 + 2?", "response": "4"}, {"question": "1 + 1?", "answer": "#### 2"}]
    words = command(tmp_path, tiny_model, "--reward_funcs", "accuracy", "cosine", "--temperature", 0.9, rows=rows)
    error = martlet(tmp_path, *words, "--system", "Count.", code=1)
    score = float(re.findall(r"mean score (\S+);", error)[0])
    assert -0.5 < score < 0  # cosine, of answers that are short beside --max_new_tokens
    renamed = [{"query": "2 + 2?", "gold": "4"}]
    words = command(tmp_path, tiny_model, "--reward_funcs", "accuracy", rows=renamed)
    error = martlet(tmp_path, *words, code=2)
    assert "accuracy reads the column solution or answer, and no row of --dataset has it" in error
    assert "mean score 0;" in martlet(tmp_path, *words, "--columns", '{"gold": "solution"}', code=1)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--temperature", 0], "--temperature 0: all answers to a prompt would be the same"),
        (["--output_file", "sampled.txt"], "--output_file sampled.txt: the rows are JSON lines"),
        (["--output_file", "prompts.jsonl"], "--output_file prompts.jsonl: is there already"),
        (["--output_file", "vowels.py/x.jsonl"], "--output_file vowels.py/x.jsonl: its folder cannot be made"),
        (["--sample_format", "preference", "--num_return_sequences", 1], "a preference needs at least 2 answers"),
        (["--sample_format", "preference", "--n_best_to_keep", 2], "--n_best_to_keep has no effect with"),
        (["--reward_funcs", "vowel"], "vowel"),
        (["--orm_model", "math"], "--orm_model: rewards judge the answers of `martlet sample`"),
    ],
)
def test_mistakes_are_answered_in_words(tiny_model: Path, tmp_path: Path, more: list[object], message: str) -> None:
    assert message in martlet(tmp_path, *command(tmp_path, tiny_model, *more), code=2)
    assert not (tmp_path / "sampled.jsonl.part").exists()


def test_what_is_needed_is_named(tiny_model: Path, tmp_path: Path) -> None:
    written(tmp_path / "prompts.jsonl", PROMPTS)
    words = ["sample", "--model", tiny_model]
    assert "name one or several rewards with --reward_funcs" in martlet(tmp_path, *words, code=2)
    assert "--dataset: which prompts?" in martlet(tmp_path, *words, "--reward_funcs", "format", code=2)
    words += ["--dataset", "prompts.jsonl", "--reward_funcs", "format", "--max_model_len", 4]
    assert "no prompt could be answered; the first: the prompt has" in martlet(tmp_path, *words, code=1)


@pytest.mark.slow  # a minute: a pipeline of its own
def test_the_stage_of_the_page_is_cached_by_dvc(tiny_model: Path, tmp_path: Path) -> None:
    stage = (ROOT / "docs/sampling.md").read_text().split("```yml\n")[1].split("```")[0]
    (tmp_path / "dvc.yaml").write_text(f"stages:\n{stage}")
    for name in ("tasks", "components"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(tiny_model, tmp_path / "models/merged")
    (tmp_path / "examples").mkdir()
    written(tmp_path / "examples/skills.jsonl", PROMPTS[:2])
    (tmp_path / "vowels.py").write_text(VOWELS)
    settings = {
        "sample": {"num_return_sequences": 4, "sample_format": "preference"},
        "reward": {"reward_funcs": ["vowels"]},
        "generation": {"max_new_tokens": 48, "stop_words": STOPS},
        "plugins": {"external_plugins": ["vowels.py"]},
    }
    (tmp_path / "params.yaml").write_text(json.dumps(settings))
    dvc = [sys.executable, "-m", "dvc"]
    bin_ = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([*dvc, "init", "-q", "--no-scm"], cwd=tmp_path, check=True)

    def repro() -> str:
        words = [*dvc, "repro", "sample"]
        ran = subprocess.run(words, cwd=tmp_path, env=os.environ | bin_, capture_output=True, text=True, timeout=120)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    assert "Running stage 'sample'" in repro()
    pairs = rows_of(tmp_path / "data/sampled.jsonl")
    assert pairs[0]["sampled"]["model"] == "models/merged"
    result = json.loads((tmp_path / "logs/sample@sampled/result.json").read_text())
    assert result["metrics"]["kept"] == len(pairs)
    assert "'sample' didn't change" in repro()
