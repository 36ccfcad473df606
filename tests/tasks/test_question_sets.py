"""Rows of question sets: what they become, and what is refused when the file is read, with file and row."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.config import resolve
from components.config.load import read_mapping
from components.errors import ConfigError, DataGateError
from tasks import evaluating
from tasks.stages.question_sets import Sets

USER = {"role": "user", "content": "Who?"}
REFUSED = {
    "no such scorer": ({"query": "q", "response": "x", "scorer": "regexx"},
                       "column scorer: there is no scorer 'regexx' (did you mean 'regex'?)"),
    "a pattern that does not compile": ({"query": "q", "pattern": "("}, "column pattern: '(' is no regular expression"),
    "a wrong schema": ({"query": "q", "schema": {"type": "strin"}}, "column schema: 'strin' is not valid"),
    "a schema that is no JSON": ({"query": "q", "schema": "{"}, "column schema: not JSON"),
    "a reference to nothing": ({"query": "q", "schema": {"properties": {"a": {"$ref": "#/$defs/a"}}}},
                               "column schema: $ref '#/$defs/a' leads nowhere"),
    "a reference to elsewhere": ({"query": "q", "schema": {"$ref": "https://example.org/a"}}, "leads nowhere"),
    "tests that do not compile": ({"query": "q", "tests": "def ("}, "column tests: no Python"),
    "tests one of which does not compile": ({"query": "q", "tests": ["assert 1", "x ="]}, "column tests: no Python"),
    "tests that are none": ({"query": "q", "tests": [3]}, "column tests: a script or a list"),
    "a tolerance that is none": ({"query": "q", "response": "3", "scorer": "numeric", "tolerance": -1},
                                 "column tolerance: -1"),
    "no choices": ({"question": "q", "choices": [], "answer": "a"}, "a list of 2 to 10 choices, not []"),
    "a choice twice": ({"question": "q", "choices": ["a", "a"], "answer": "a"}, "column choices: 'a' stands twice"),
    "no difference": ({"prompt": "q", "chosen": "a", "rejected": "a"}, "chosen and rejected are the same"),
    "a list of answers": ({"query": "q", "response": ["x"]}, "column response: one answer, not a list"),
    "an empty answer beside messages": ({"messages": [USER], "response": ""}, "there is no answer to compare with"),
}  # fmt: skip


def sets_of(folder: Path, *rows: dict[str, Any]) -> Sets:
    (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return evaluating.question_sets(resolve(read_mapping({"eval_dataset": ["mine.jsonl"]}, "test")), folder)


@pytest.mark.parametrize(("row", "message"), REFUSED.values(), ids=REFUSED)
def test_what_no_answer_could_be_judged_by_is_refused_with_file_and_row(
    row: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataGateError) as refusal:
        sets_of(tmp_path, {"query": "What?", "response": "That."}, row)
    assert str(refusal.value).startswith("mine.jsonl:2: ") and message in str(refusal.value)


def test_rows_that_can_be_judged_are_questions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tree = {"$defs": {"node": {"properties": {"next": {"$ref": "#/$defs/node"}}}}, "$ref": "#/$defs/node"}
    rows = [
        {"messages": [{"role": "system", "content": "Be short."}, USER], "response": "Me."},
        {"messages": [USER], "answer": 5, "scorer": "contains"},
        {"query": "A tree.", "schema": tree},
        {"query": "A program.", "tests": "assert f() == 1"},
        {"query": "A or b?", "A": "a", "B": "A", "answer": "A", "choices": ""},
    ]
    questions = sets_of(tmp_path, *rows).questions["mine"]
    assert [question["query"].splitlines()[0] for question in questions] == [
        "Who?", "Who?", "A tree.", "A program.", "A or b?"
    ]  # fmt: skip
    assert [question["response"] for question in questions] == ["Me.", "5", "", "", "A"]
    assert questions[0]["history"] == [{"role": "system", "content": "Be short."}]


def test_a_misspelt_benchmark_is_answered_with_its_name(tmp_path: Path) -> None:
    params = resolve(read_mapping({"eval_dataset": ["gsm8q"]}, "test"))
    with pytest.raises(
        ConfigError, match=r"'gsm8q' is neither a file nor a dataset nor a benchmark \(did you mean 'gsm8"
    ):
        evaluating.question_sets(params, tmp_path)
