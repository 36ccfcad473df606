"""The answers of a served model to the questions of several sets, by EvalScope."""

import contextlib
import json
import logging
import shutil
import threading
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from components.errors import ConfigError, MartletError
from components.media import COLUMNS, FOLDER

Record = dict[str, Any]
"""One answered question: set, item (index in its set, from 0), query, answer, reference, score, answer_tokens, and
where it has them its system prompt and the references of its media, as JSON."""

POLL_S = 1.0
EVALSCOPE_LOG = "logs/eval_log.log"


def ask(
    api_url: str,
    model_name: str,
    questions: Mapping[str, Path],
    work_dir: Path,
    generation_config: Mapping[str, Any] | None = None,
    limit: int | None = None,
    num_proc: int = 16,
    on_progress: Callable[[dict[str, Any]], None] = lambda _: None,
) -> list[Record]:
    """Return the answers to every question of every set, scored by exact match after normalisation.

    Args:
        api_url: base URL of a server that speaks the OpenAI API, such as `http://127.0.0.1:8000/v1`.
        model_name: the name under which the server knows the model.
        questions: set name to a JSONL file with `query`, `response` and optionally `system`, `images`, `videos` and
            `audios` in each line; media whose path is relative are in the folder `media` beside the file.
        work_dir: the folder of EvalScope's log, predictions, reviews and HTML report; an existing folder is replaced.
        generation_config: generation settings under EvalScope's names, such as max_tokens and temperature.
        limit: questions asked of each set, from its beginning; None is all.
        num_proc: requests in flight at once.

    Returns:
        The records of all sets, in the order of the sets and their questions.

    Raises:
        ConfigError: a question file cannot be read.
        MartletError: the server failed or refused a question, or a score could not be computed.
    """
    sets = {name: read_questions(path)[:limit] for name, path in questions.items()}
    total = sum(map(len, sets.values()))
    shutil.rmtree(work_dir, ignore_errors=True)
    with _output_to(work_dir / "console.log"):
        plugin = _evalscope()
        placed = {name: [_placed(row, questions[name].parent / FOLDER) for row in rows] for name, rows in sets.items()}
        _write_questions(placed, work_dir / "questions", plugin.SPLIT)
        with _progress_reports(work_dir / "predictions" / model_name, model_name, total, on_progress):
            _run(api_url, model_name, list(sets), work_dir, dict(generation_config or {}), num_proc, plugin.BENCHMARK)
    records = []
    reviews = work_dir / "reviews" / model_name
    for name, rows in sets.items():
        results = _results(reviews / f"{plugin.BENCHMARK}_{name}.jsonl")
        for item, row in enumerate(rows):
            where = f"evaluation of {model_name}: set '{name}', question {item + 1}"
            if item not in results:
                raise MartletError(f"{where} has no result (see {work_dir / EVALSCOPE_LOG})")
            records.append({"set": name, "item": item, **_record(row, results[item], plugin.METRIC, where)})
    return records


def read_questions(path: Path) -> list[dict[str, Any]]:
    """Return the questions of a set.

    Raises:
        ConfigError: a line is not a JSON object with query and response, or there are no lines.
    """
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):  # a text would be split at U+2028, too
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ConfigError(f"{path}:{number}: not JSON: {error}") from error
        if not isinstance(row, dict) or not all(isinstance(row.get(k), str) and row[k] for k in ("query", "response")):
            raise ConfigError(f"{path}:{number}: a question needs the texts 'query' and 'response'")
        rows.append(row)
    if not rows:
        raise ConfigError(f"{path}: no questions")
    return rows


def _placed(row: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a question whose media are whole paths."""

    def placed(value: Any) -> Any:
        if isinstance(value, list):
            return [placed(frame) for frame in value]
        return str((folder / value["path"]).absolute())

    return row | {name: [placed(value) for value in row[name]] for name in COLUMNS.values() if row.get(name)}


def _evalscope() -> ModuleType:
    """Import EvalScope, which takes seconds, without its changes to the root logger and its log on the screen."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        from components.evaluation import question_set
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    logging.getLogger("evalscope").handlers.clear()
    return question_set


def _write_questions(sets: Mapping[str, list[dict[str, Any]]], folder: Path, split: str) -> None:
    folder.mkdir(parents=True)
    for name, rows in sets.items():
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}_{split}.jsonl").write_text("".join(lines), encoding="utf-8")


def _run(
    api_url: str, model_name: str, sets: list[str], work_dir: Path, generation: dict, num_proc: int, benchmark: str
) -> None:
    from evalscope.config import TaskConfig
    from evalscope.run import run_task

    task = TaskConfig(
        model=model_name,
        model_id=model_name,
        api_url=api_url,
        api_key="EMPTY",  # type: ignore[arg-type]
        eval_type="openai_api",
        model_args={"max_retries": 0},
        datasets=[benchmark],
        dataset_args={benchmark: {"local_path": str(work_dir / "questions"), "subset_list": sets}},
        generation_config={"retries": 1, **generation},
        eval_batch_size=num_proc,
        work_dir=str(work_dir),
        no_timestamp=True,
        analysis_report=False,
    )
    log = logging.getLogger("evalscope")
    try:
        run_task(task)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise MartletError(f"evaluation of {model_name} stopped: {reason} (see {work_dir / EVALSCOPE_LOG})") from error
    finally:
        for handler in log.handlers[:]:
            log.removeHandler(handler)
            handler.close()


def _results(path: Path) -> dict[int, dict[str, Any]]:
    """Return EvalScope's results of one set by the index of the question; the file is in the order of completion.

    Raises:
        MartletError: a question has two results.
    """
    results: dict[int, dict[str, Any]] = {}
    for line in path.read_bytes().splitlines() if path.exists() else []:
        result = json.loads(line)
        if results.setdefault(result["index"], result) is not result:
            raise MartletError(f"{path}: two answers to question {result['index'] + 1}; evaluate the model again")
    return results


def _record(row: dict[str, Any], result: dict[str, Any], metric: str, where: str) -> Record:
    answer = result["messages"][-1]
    score = result["sample_score"]["score"]
    if answer.get("perf_metrics") is None:  # EvalScope returns an error of the server as the answer
        raise MartletError(f"{where} was refused by the server: {answer['content']}")
    if score["status"] != "success" or metric not in score["value"]:
        raise MartletError(f"{where} could not be scored: {score['metadata']}")
    media = {name: row[name] for name in COLUMNS.values() if row.get(name)}
    return {
        "query": row["query"],
        "answer": score["prediction"],
        "reference": row["response"],
        "score": float(score["value"][metric]),
        "answer_tokens": int(answer["perf_metrics"]["output_tokens"]),
        **({"system": row["system"]} if row.get("system") else {}),
        **({"media": json.dumps(media)} if media else {}),
    }


@contextlib.contextmanager
def _output_to(path: Path) -> Generator[None]:
    """Redirect standard output and error, with EvalScope's progress bars, to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        path.open("w", encoding="utf-8") as stream,
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
    ):
        yield


@contextlib.contextmanager
def _progress_reports(
    predictions: Path, model_name: str, total: int, on_progress: Callable[[dict[str, Any]], None]
) -> Generator[None]:
    """Report the number of answered questions every POLL_S seconds and at the end."""
    end = threading.Event()

    def report() -> None:
        answered = sum(file.read_bytes().count(b"\n") for file in predictions.glob("*.jsonl"))
        on_progress({"candidate": model_name, "step": answered, "total_steps": total})

    def watch() -> None:
        while not end.wait(POLL_S):
            report()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
        report()
    finally:
        end.set()
        watcher.join()
