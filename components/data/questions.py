"""Question sets: from a row in any known format to one question, the conversation before it and what is expected.

A line of a set's file has

    query       the question that is asked, a text; the choices of multiple choice are part of it
    response    the reference answer, a text; "" where something else judges, such as a pattern or tests
    history     the messages before the question, system message included
    tools       the tools that the model may call
    columns     the row's other columns, for its scorer: choices, tool_calls, pattern, schema, tests, topic, …
    images, videos, audios   references of the question's media

of which all but the first two are left out where a row has none.
"""

import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from components.data.checks.empty import is_blank
from components.data.exact_json import loads
from components.data.formats import to_row, unread
from components.data.media.store import MediaStore
from components.data.row_store import StoredRows
from components.data.sources import row_location
from components.errors import DataGateError
from components.media import COLUMNS
from components.rows import Message, Row, unread_answer

QUESTIONS = ("query", "question", "prompt", "input", "instruction")
ANSWERS = ("response", "answer", "answerKey", "solution", "output", "label")
MAX_CHOICES = 10
CHOOSE = "Answer with the letter of the right choice."
PREFER = "Which of these two answers is better? Answer with its letter.\n\nA: {}\n\nB: {}"
JUDGES = ("scorer", "pattern", "schema", "tests", "input_output", "test_cases", "tool_calls")
"""Columns by which an answer can be judged without a reference."""
MESSAGE_KEYS = ("role", "content", "tool_calls", "tool_call_id", "name")


def write_questions(
    path: Path,
    rows: StoredRows,
    media: MediaStore | None = None,
    check: Callable[[dict[str, Any]], None] = lambda _: None,
) -> None:
    """Write a question set as JSON Lines; `media` takes the questions' media and gives references.

    Args:
        check: raises ValueError for a question that cannot be judged.

    Raises:
        DataGateError: a row that is no question with something to judge its answer by.
    """
    import orjson

    with path.open("wb") as file:
        for source, number, raw in rows.rows(media):
            where = row_location(source, number)
            try:
                question = question_of(loads(raw))
                check(question)
            except ValueError as error:
                raise DataGateError(f"{where}: {error}") from error
            file.write(orjson.dumps(question, option=orjson.OPT_APPEND_NEWLINE))


def read_questions(folder: Path) -> dict[str, list[str]]:
    """Return the queries of every question set in a folder, by the set's name."""
    import orjson

    files = sorted(folder.glob("*.jsonl"))
    return {file.stem: [orjson.loads(line)["query"] for line in file.open("rb")] for file in files}


def question_of(raw: dict[str, Any]) -> dict[str, Any]:
    """Return the question of a raw row, as a line of a set's file holds it.

    Raises:
        ValueError: the row has no question, or nothing to judge an answer by; says which.
    """
    if isinstance(raw, dict):
        raw = _with_choices(raw) or {name: _number_as_text(value) for name, value in raw.items()}
        raw = _with_answer(raw)
    row, columns = to_row(raw), unread(raw)
    if lists := [name for name in ANSWERS if isinstance(raw.get(name), list) and name not in columns]:
        raise ValueError(f"column {lists[0]}: one answer, not a list")
    if "rejected" in row:
        row, columns = _preference(row)
    messages = row.get("messages") or row.get("prompt", [])
    expected = messages[-1] if messages and messages[-1]["role"] == "assistant" else None
    prompt = messages[:-1] if expected else messages
    _require_question(prompt, row)
    response, calls = (expected["content"], expected.get("tool_calls")) if expected else ("", None)
    if calls:
        columns |= {"tool_calls": calls}
        response = response or json.dumps([call["function"] for call in calls], ensure_ascii=False)
    if expected and is_blank(response):
        raise ValueError("the answer is empty")
    if not expected and not columns.keys() & {*JUDGES}:
        raise ValueError(f"there is no answer to compare with, and none of {', '.join(JUDGES)}{_advice(row)}")
    history = [{key: message[key] for key in MESSAGE_KEYS if message.get(key)} for message in prompt[:-1]]
    beside = {"history": history, "tools": row.get("tools"), "columns": columns, **_media(row)}
    return {"query": prompt[-1]["content"], "response": response, **{key: v for key, v in beside.items() if v}}


def _require_question(messages: list[Message], row: Row) -> None:
    """Raise ValueError unless the last of the messages before the answer is a question."""
    roles = [message["role"] for message in messages]
    if roles[-1:] not in (["user"], ["tool"]):
        content = ", ".join(roles) or "nothing"
        raise ValueError(f"an evaluation row ends with a question and its answer, not {content}{_advice(row)}")
    if is_blank(messages[-1]["content"]):
        raise ValueError("the question is empty")


def _advice(row: Row) -> str:
    advice = unread_answer(row)
    return f"; {advice}" if advice else ""


def _with_answer(raw: dict[str, Any]) -> dict[str, Any]:
    """Return a row whose messages end with the user, and that has an answer in a column of its own, with the answer
    among its messages; another row as it is."""
    messages = raw.get("messages")
    name = next((name for name in ANSWERS if isinstance(raw.get(name), str) and raw[name]), None)
    if not (name and isinstance(messages, list) and messages and isinstance(messages[-1], dict)):
        return raw
    if messages[-1].get("role") != "user":
        return raw
    others = {key: value for key, value in raw.items() if key != name}
    return {**others, "messages": [*messages, {"role": "assistant", "content": raw[name]}]}


def _number_as_text(value: Any) -> Any:
    """Return a number as the text that JSON has for it; anything else as it is."""
    return json.dumps(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _with_choices(raw: dict[str, Any]) -> dict[str, Any] | None:
    """Return a row of multiple choice with its choices in the question and a letter as its answer, or None for another
    row.

    The choices are `choices`, a list of texts or ARC's `{"text": […], "label": […]}`, or the columns A, B, C, …; the
    answer is a letter, a choice's text, or its index from 0.

    Raises:
        ValueError: fewer than 2 choices, more than MAX_CHOICES, one twice, or an answer that is none of them.
    """
    letters = [letter for letter in ascii_uppercase[:MAX_CHOICES] if raw.get(letter) is not None]
    choices = raw.get("choices")
    if choices is None or choices == "":
        choices = [raw[letter] for letter in letters] if letters[:2] == ["A", "B"] else None
    labels = list(ascii_uppercase)
    if isinstance(choices, dict):
        labels, choices = [str(label) for label in choices.get("label", [])], choices.get("text")
    question = next((name for name in QUESTIONS if isinstance(raw.get(name), str)), None)
    if choices is None or question is None:
        return None
    if not isinstance(choices, list) or not 2 <= len(choices) <= MAX_CHOICES:
        raise ValueError(f"column choices: a list of 2 to {MAX_CHOICES} choices, not {str(choices)[:80]}")
    texts = [str(choice) for choice in choices]
    if twice := next((text for text in texts if texts.count(text) > 1), None):
        raise ValueError(f"column choices: {twice[:80]!r} stands twice")
    answer = next((name for name in ANSWERS if raw.get(name) is not None), None)
    if answer is None:
        raise ValueError("there is no answer to compare with: name the right choice in the column answer")
    letter = _letter(raw[answer], texts, labels)
    listed = "\n".join(f"{name}. {text}" for name, text in zip(ascii_uppercase, texts, strict=False))
    others = {name: value for name, value in raw.items() if name not in (question, answer, "choices", *letters)}
    query = f"{raw[question]}\n\n{listed}\n\n{CHOOSE}"
    return {"query": query, "response": letter, "choices": texts, **others}


def _letter(answer: Any, texts: list[str], labels: list[str]) -> str:
    """Return the letter of the right choice."""
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(texts):
        return ascii_uppercase[answer]
    for names in (labels[: len(texts)], texts):
        if str(answer).strip() in names:
            return ascii_uppercase[names.index(str(answer).strip())]
    raise ValueError(f"column answer: {str(answer)[:80]!r} is none of the {len(texts)} choices")


def _preference(row: Row) -> tuple[Row, dict[str, Any]]:
    """Return a preference as a choice between its two answers, in an order that its texts decide."""
    chosen, rejected = (row[name][-1]["content"] for name in ("chosen", "rejected"))
    if chosen == rejected:
        raise ValueError("chosen and rejected are the same: neither is better")
    conversation = row["prompt"]
    is_first = sha256(f"{conversation}{chosen}{rejected}".encode()).digest()[0] % 2 == 0
    texts = [chosen, rejected] if is_first else [rejected, chosen]
    shown = "\n\n".join(f"{message['role']}: {message['content']}" for message in conversation)
    messages = [
        {"role": "user", "content": f"{shown}\n\n{PREFER.format(*texts)}"},
        {"role": "assistant", "content": "A" if is_first else "B"},
    ]
    beside = {name: value for name, value in row.items() if name not in ("prompt", "chosen", "rejected")}
    return {**beside, "messages": messages}, {"choices": texts}


def _media(row: Row) -> dict[str, Any]:
    """Return the references of a question's media by column.

    Raises:
        ValueError: a medium cannot be read.
    """
    media = {name: row[name] for name in COLUMNS.values() if row.get(name)}
    for medium in _single(list(media.values())):
        if "problem" in medium:
            raise ValueError(f"{medium['path']}: {medium['problem']}")
    return media


def _single(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every medium in nested lists: a video may be a list of frames."""
    for each in value:
        if isinstance(each, list):
            yield from _single(each)
        else:
            yield each
