"""A file of questions: answers that are there are kept, whatever ends the command."""

import json
import signal
import time
from pathlib import Path

import pytest

from tasks.answering import _answers_in
from tests.commands import Command, martlet

ROWS = 90


def command(folder: Path, model: Path, *more: object) -> list[str]:
    questions = folder / "questions.jsonl"
    questions.write_text("".join(json.dumps({"query": f"Who is number {i}?"}) + "\n" for i in range(ROWS)))
    words = ["infer", "--model", model, "--val_dataset", questions, "--max_new_tokens", 48, "--temperature", 0]
    return [*map(str, words), "--max_batch_size", "1", *map(str, more)]


@pytest.mark.parametrize("end", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_an_interrupted_file_is_gone_on_with(tiny_model: Path, tmp_path: Path, end: signal.Signals) -> None:
    words = command(tmp_path, tiny_model, "--result_path", "answers.jsonl")
    program = Command(tmp_path, *words)
    part = tmp_path / "answers.jsonl.part"
    deadline = time.monotonic() + 300
    while not (part.is_file() and part.read_bytes().count(b"\n") > 3) and time.monotonic() < deadline:
        time.sleep(0.02)
    program.signal(end)
    assert program.wait(60).returncode != 0
    kept = part.read_bytes()
    count = kept.count(b"\n") - 1
    assert 2 < count < ROWS and not (tmp_path / "answers.jsonl").exists()
    part.write_bytes(kept.replace(b'"response":"', b'"response":"kept: ', 1))  # shows that it is not answered again
    assert f"{ROWS} answers in answers.jsonl" in martlet(tmp_path, *words)
    answers = [json.loads(line) for line in (tmp_path / "answers.jsonl").read_text().splitlines()]
    assert [row["messages"][0]["content"] for row in answers] == [f"Who is number {i}?" for i in range(ROWS)]
    assert answers[0]["response"].startswith("kept: ") and not part.exists()


def test_answers_to_other_questions_are_not_gone_on_with(tmp_path: Path) -> None:
    part = tmp_path / "answers.jsonl.part"
    line = json.dumps({"response": "there"}).encode() + b"\n"
    part.write_bytes(b"these\n" + line + line[:-3])  # the last is cut off
    assert _answers_in(part, b"these") == [line]
    assert _answers_in(part, b"others") == []
