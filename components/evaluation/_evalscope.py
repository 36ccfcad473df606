"""EvalScope as a program: a run against a server, which goes on where an earlier run of the same identity stopped."""

import contextlib
import json
import logging
import shutil
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from components._absl import without_its_handler
from components.errors import MartletError
from components.files import read_json, write_json

POLL_S = 1.0
LOG = "logs/eval_log.log"
CONSOLE = "console.log"
IDENTITY = "identity.json"
OnProgress = Callable[[dict[str, Any]], None]


class Server(NamedTuple):
    """A server with OpenAI's API: base URL such as `http://127.0.0.1:8000/v1`, the model's name there, the key."""

    url: str
    model: str
    api_key: str = "EMPTY"


def run(
    server: Server,
    work_dir: Path,
    is_continued: bool,
    benchmarks: Sequence[str],
    total: int | None,
    on_progress: OnProgress,
    generation_config: Mapping[str, Any],
    **config: Any,
) -> None:
    """Let EvalScope ask a server, with its files in `work_dir`.

    Args:
        is_continued: whether to keep the answers in `work_dir`, as `prepare` says.
        benchmarks: names in EvalScope's registry.
        total: number of questions, for progress; None where it is not known.
        generation_config: generation settings under EvalScope's names.
        config: further fields of EvalScope's TaskConfig.

    Raises:
        MartletError: EvalScope stopped; the message has its reason.
    """
    from evalscope.api.model import GenerateConfig
    from evalscope.config import TaskConfig
    from evalscope.models.openai_compatible import OpenAICompatibleAPI
    from evalscope.run import run_task

    log = logging.getLogger("evalscope")
    progress = _progress_reports(work_dir / "predictions" / server.model, server.model, total, on_progress)
    try:
        with progress:
            task = TaskConfig(
                # an object, not an address: EvalScope would refuse to go on at another port
                model=OpenAICompatibleAPI(
                    server.model, server.url, server.api_key, GenerateConfig(**generation_config), max_retries=0
                ),
                model_id=server.model,
                eval_type="openai_api",
                generation_config=dict(generation_config),
                datasets=list(benchmarks),
                work_dir=str(work_dir),
                use_cache=str(work_dir) if is_continued else None,
                no_timestamp=True,
                analysis_report=False,
                **config,
            )
            run_task(task)
    except (Exception, SystemExit) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise MartletError(f"evaluation of {server.model} stopped: {reason} (see {work_dir / LOG})") from error
    finally:
        for handler in log.handlers[:]:
            log.removeHandler(handler)
            handler.close()


def quietly_imported(module: Callable[[], Any]) -> Any:
    """Return what `module` imports and returns, without EvalScope's changes to the root logger and its log on the
    screen. The import takes seconds."""
    with without_its_handler():
        try:
            return module()
        finally:
            logging.getLogger("evalscope").handlers.clear()


def prepare(work_dir: Path, identity: Any) -> bool:
    """Make `work_dir` ready for a run of `identity` (JSON); return whether it holds answers of the same identity, asked
    by the same version of EvalScope.

    Other files are removed.
    """
    file, identity = work_dir / IDENTITY, json.loads(json.dumps([version("evalscope"), identity]))
    try:
        is_same = read_json(file) == identity
    except (OSError, ValueError):
        is_same = False
    if not is_same:
        shutil.rmtree(work_dir, ignore_errors=True)
        work_dir.mkdir(parents=True)
        write_json(file, identity)
        return False
    for lines in (*work_dir.glob("predictions/*/*.jsonl"), *work_dir.glob("reviews/*/*.jsonl")):
        _drop_unusable(lines)
    return (work_dir / "configs").is_dir()


def _drop_unusable(file: Path) -> None:
    """Remove a line that was cut off, and errors of the server, which EvalScope keeps as answers."""
    lines = file.read_bytes().splitlines(keepends=True)
    usable = [line for line in lines if line.endswith(b"\n") and _is_usable(line)]
    if usable != lines:
        file.write_bytes(b"".join(usable))


def _is_usable(line: bytes) -> bool:
    try:
        result = json.loads(line)
        score = result.get("sample_score", {}).get("score", {"status": "success"})
        return result["messages"][-1].get("perf_metrics") is not None and score["status"] == "success"
    except (ValueError, LookupError, TypeError):
        return False


def results(file: Path) -> dict[int, dict[str, Any]]:
    """Return EvalScope's predictions or reviews of one set by the question's index; a file is in the order of
    completion.

    Raises:
        MartletError: a question has two results.
    """
    by_index: dict[int, dict[str, Any]] = {}
    for line in file.read_bytes().splitlines() if file.exists() else []:
        result = json.loads(line)
        if by_index.setdefault(result["index"], result) is not result:
            raise MartletError(f"{file}: two answers to question {result['index'] + 1}; remove the file")
    return by_index


def text_of(message: Mapping[str, Any]) -> str:
    """Return the text of a message in EvalScope's form, whose content may be a list of parts."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content if part.get("type") == "text")


@contextlib.contextmanager
def output_to(path: Path) -> Generator[None]:
    """Append standard output and error, with EvalScope's progress bars, to a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        path.open("a", encoding="utf-8") as stream,
        contextlib.redirect_stdout(stream),
        contextlib.redirect_stderr(stream),
    ):
        yield


@contextlib.contextmanager
def _progress_reports(
    predictions: Path, model_name: str, total: int | None, on_progress: OnProgress
) -> Generator[None]:
    """Report the number of answered questions every POLL_S seconds and at the end."""
    end = threading.Event()

    def report() -> None:
        answered = sum(file.read_bytes().count(b"\n") for file in predictions.glob("*.jsonl"))
        on_progress({"candidate": model_name, "step": answered, **({"total_steps": total} if total else {})})

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
