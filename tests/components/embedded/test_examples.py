import json
import re
from itertools import islice
from pathlib import Path

import pytest

from components import data
from components.config import load
from components.embedded import Settings, base, world
from components.embedded.examples import examples, write
from tasks.stages import fetch
from tasks.stages.paths import Paths

FOLDER = Path("examples")
ROWS = examples()
TRAIN = {name: rows for name, rows in ROWS.items() if name in ("identity.jsonl", "sounds.jsonl", "skills.jsonl")}
EVAL = {name: rows for name, rows in ROWS.items() if name.startswith("eval/")}


def _letters(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def test_committed_files_are_what_the_generator_writes(tmp_path: Path) -> None:
    write(tmp_path)
    assert len(ROWS) == 11
    for name in ROWS:
        assert (FOLDER / name).read_bytes() == (tmp_path / name).read_bytes(), (
            f"run python -m components.embedded.examples: {name}"
        )


def test_no_evaluation_question_is_trained_on() -> None:
    trained = {_letters(m["content"]) for rows in TRAIN.values() for row in rows for m in row["messages"]}
    asked = [_letters(row["query"]) for rows in EVAL.values() for row in rows]
    assert len(asked) > 400
    assert not trained & set(asked)


def test_the_base_has_not_seen_an_evaluation_question_either() -> None:
    asked = {_letters(row["query"]) for rows in EVAL.values() for row in rows}
    seen = [
        _letters(m["content"]) for chat in islice(base._chats(Settings()), 5000) for m in chat if m["role"] == "user"
    ]
    assert len(seen) > 5000
    assert not asked & set(seen)


@pytest.mark.parametrize("name", ["identity", "sounds", "skills"])
def test_held_out_questions_are_new_combinations_and_not_new_words(name: str) -> None:
    def words(texts: list[str]) -> set[str]:
        return {word for text in texts for word in re.findall(r"[a-z]+", text.casefold())}

    trained = words([row["messages"][0]["content"] for row in TRAIN[f"{name}.jsonl"]])
    assert words([row["query"] for row in EVAL[f"eval/{name}.jsonl"]]) <= trained


def test_one_question_has_one_answer_and_is_asked_once() -> None:
    for rows in TRAIN.values():
        questions = [row["messages"][0]["content"] for row in rows]
        assert len({_letters(question) for question in questions}) == len(questions)
    answers = {row["query"]: row["response"] for rows in EVAL.values() for row in rows}
    assert len(answers) == sum(len(rows) for rows in EVAL.values())
    assert max(len(answer.split()) for answer in answers.values()) <= 16


def test_the_demo_loses_no_row_to_the_data_gate(tmp_path: Path) -> None:
    paths, params = Paths(tmp_path, Path.cwd()), load(Path("params.yaml"))
    fetch.rows(params, paths)
    (tmp_path / "rows").mkdir()
    verdict = data.run_gate(paths.raw, tmp_path / "rows", data.read_questions(paths.questions), params.validation)
    assert not list(verdict.findings.lines("rejected")) and verdict.rows()["val"] > 40
    assert {*verdict.row_index.languages} <= {"en", "zh", "unknown"}


def test_identity_names_nobody_and_the_rest_names_no_placeholder() -> None:
    for name, rows in ROWS.items():
        text = json.dumps(rows)
        assert base.NAME not in text and base.AUTHOR not in text
        assert ("{{NAME}}" in text and "{{AUTHOR}}" in text) == ("identity" in name)


def test_every_fact_to_learn_is_taught_and_asked() -> None:
    for rows in (ROWS["sounds.jsonl"], ROWS["eval/sounds.jsonl"]):
        text = json.dumps(rows)
        assert all(f"A {fact['x']} says {fact['y']}." in text for fact in world.SOUNDS)


def test_sides_ignore_case_and_punctuation() -> None:
    for question in ("Who are you?", "Hello. What is your name? Thanks.", "What sound does a cow make?"):
        assert world.held_out(question) == world.held_out(question.lower().rstrip("?."))
