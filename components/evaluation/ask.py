"""The answers of a served model to the questions of several sets, asked by EvalScope."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from components.errors import ConfigError, MartletError
from components.evaluation._evalscope import (
    CONSOLE,
    LOG,
    OnProgress,
    Server,
    output_to,
    prepare,
    quietly_imported,
    results,
    run,
    text_of,
)
from components.files import sha256_of
from components.media import COLUMNS, FOLDER

Question = dict[str, Any]
"""A line of a set's file: query, response, and where it has any history, tools, columns, images, videos, audios."""
LENGTH_LIMIT = "max_tokens"
"""EvalScope's word for an answer that the limit of tokens cut off."""


class Answer(NamedTuple):
    """A model's answer to a question.

    Attributes:
        set_name, item: the question's set, and its index there, from 0.
        message: the assistant's message; `tool_calls` are OpenAI's.
        tokens: tokens of the answer.
        latency_s: seconds from the request to the whole answer.
        is_truncated: whether the limit of tokens ended the answer.
    """

    set_name: str
    item: int
    question: Question
    message: dict[str, Any]
    tokens: int
    latency_s: float
    is_truncated: bool


def ask(
    server: Server,
    questions: Mapping[str, list[Question]],
    work_dir: Path,
    model_identity: Any,
    generation_config: Mapping[str, Any] | None = None,
    num_proc: int = 16,
    on_progress: OnProgress = lambda _: None,
) -> list[Answer]:
    """Return the answers to every question of every set, in the order of the sets and their questions.

    Args:
        questions: set name to its questions, as `read_questions` returns them.
        work_dir: the folder of EvalScope's log and predictions. Answers that an interrupted run with the same
            questions, settings and `model_identity` left there are kept; the files of another run are removed.
        model_identity: what tells this model from another, as JSON.
        generation_config: generation settings under EvalScope's names, such as max_tokens and temperature.
        num_proc: requests in flight at once.
        on_progress: gets candidate, step and total_steps.

    Raises:
        MartletError: the server failed or refused a question.
    """
    settings = dict(generation_config or {})
    is_continued = prepare(work_dir, [sha256_of(questions), settings, model_identity, server.model])
    with output_to(work_dir / CONSOLE):
        plugin = quietly_imported(_question_set)
        _write_questions(questions, work_dir / "questions", plugin.SPLIT)
        places = {"local_path": str(work_dir / "questions"), "subset_list": list(questions)}
        try:
            run(
                server,
                work_dir,
                is_continued,
                [plugin.BENCHMARK],
                sum(map(len, questions.values())),
                on_progress,
                dataset_args={plugin.BENCHMARK: places},
                generation_config={"retries": 1, **settings},
                eval_batch_size=num_proc,
            )
        except MartletError as error:
            if isinstance(error.__cause__, (ValueError, LookupError, TypeError)):
                raise MartletError(
                    f"evaluation of {server.model} stopped: a reply of {server.url} is not of OpenAI's API "
                    f"({error.__cause__}); the same command goes on behind the last answer (see {work_dir / LOG})"
                ) from error
            raise
    predictions = work_dir / "predictions" / server.model
    return [
        answer
        for name, rows in questions.items()
        for answer in _answers(name, rows, results(predictions / f"{plugin.BENCHMARK}_{name}.jsonl"), server, work_dir)
    ]


def read_questions(path: Path, limit: int | None = None) -> list[Question]:
    """Return the questions of a set's file, or the first `limit`; their media are whole paths, which are relative to
    the folder `media` beside the file.

    Raises:
        ConfigError: a line is not a JSON object with query and response, or there are no lines.
    """
    rows: list[Question] = []
    for number, line in enumerate(path.read_bytes().splitlines()[:limit], 1):  # a text would be split at U+2028, too
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"{path}:{number}: not JSON: {error}") from error
        if not isinstance(row, dict) or not all(isinstance(row.get(k), str) for k in ("query", "response")):
            raise ConfigError(f"{path}:{number}: a question needs the texts 'query' and 'response'")
        rows.append(_placed(row, path.parent / FOLDER))
    if not rows:
        raise ConfigError(f"{path}: no questions")
    return rows


def _placed(row: Question, folder: Path) -> Question:
    """Return a question whose media are whole paths."""

    def placed(value: Any) -> Any:
        if isinstance(value, list):
            return [placed(frame) for frame in value]
        return str((folder / value["path"]).absolute())

    return row | {name: [placed(value) for value in row[name]] for name in COLUMNS.values() if row.get(name)}


def _question_set() -> ModuleType:
    from components.evaluation import question_set

    return question_set


def _write_questions(sets: Mapping[str, list[Question]], folder: Path, split: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in sets.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}_{split}.jsonl").write_text("".join(lines), encoding="utf-8")


def _answers(
    name: str, rows: list[Question], predictions: dict[int, dict[str, Any]], server: Server, work_dir: Path
) -> list[Answer]:
    answers: list[Answer] = []
    for item, row in enumerate(rows):
        where = f"evaluation of {server.model}: set '{name}', question {item + 1}"
        if item not in predictions:
            raise MartletError(f"{where} has no answer (see {work_dir / LOG})")
        message, prediction = predictions[item]["messages"][-1], predictions[item]
        if message.get("perf_metrics") is None:  # EvalScope returns an error of the server as the answer
            raise MartletError(f"{where} was refused by the server: {text_of(message)}")
        calls = [{"type": "function", "function": call["function"]} for call in message.get("tool_calls") or []]
        content = {"role": "assistant", "content": text_of(message), **({"tool_calls": calls} if calls else {})}
        metrics = message["perf_metrics"]
        is_truncated = prediction["model_output"]["choices"][0].get("stop_reason") == LENGTH_LIMIT
        answers.append(Answer(name, item, row, content, metrics["output_tokens"], metrics["latency"], is_truncated))
    return answers
