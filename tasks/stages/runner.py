"""The runner of a stage: its log folder, its result.json, one clear error message, an exit code."""

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components import plugins
from components.config import Params, load
from components.errors import InterruptedRunError, MartletError, system_problem, without_credentials
from components.files import append_jsonl, write_json
from tasks.stages.environment import prepare_environment
from tasks.stages.paths import Paths

Result = dict[str, Any]
Stage = Callable[[Params, Paths], Result]


def progress(paths: Paths, stage: str) -> Callable[[dict[str, Any]], None]:
    """Return a function that appends one line to the stage's `progress.jsonl`, with the time in seconds since 1970."""
    file = paths.log(stage) / "progress.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    return lambda entry: append_jsonl(file, {"time": round(time.time(), 3), **entry})


def run(stage: str, body: Stage, params: Params, paths: Paths) -> Result:
    """Run a stage's body, write `result.json` in any case, and return the body's result.

    Raises:
        MartletError: the body's own, or one line on an unexpected error and the file with its traceback.
    """
    log = paths.log(stage)
    log.mkdir(parents=True, exist_ok=True)
    for old in ("progress.jsonl", "result.json", "error.txt"):
        (log / old).unlink(missing_ok=True)
    start = time.time()
    outcome: Result = {"stage": stage, "began": round(start, 3), "status": "failed", "exit_code": 1}
    try:
        metrics = body(params, paths)
        outcome |= {"status": "done", "exit_code": 0, "metrics": metrics}
        return metrics
    except BaseException as error:
        problem = _as_martlet_error(stage, error, paths)
        outcome |= {"exit_code": problem.exit_code, "message": str(problem)}
        raise problem from error
    finally:
        outcome["seconds"] = round(time.time() - start, 3)
        try:
            write_json(log / "result.json", outcome)
        except OSError:  # a full disk must not hide why the stage failed
            print(f"martlet: {log}: the result could not be written", file=sys.stderr)


def interrupted(stage: str, paths: Paths) -> InterruptedRunError:
    """Return the error of a stage that the user stopped; a direct command adds how to go on."""
    in_workspace = "" if paths.checkpoints else "; the same command goes on from where it stopped"
    return InterruptedRunError(f"{stage}: interrupted{in_workspace}")


def _as_martlet_error(stage: str, error: BaseException, paths: Paths) -> MartletError:
    if isinstance(error, MartletError):
        return error
    if isinstance(error, KeyboardInterrupt):
        return interrupted(stage, paths)
    log = paths.log(stage)
    if problem := system_problem(error):
        return MartletError(f"{stage}: {problem}")
    lines = without_credentials("".join(traceback.format_exception(error)))
    try:
        (log / "error.txt").write_text(lines, encoding="utf-8")
    except OSError:
        print(lines, file=sys.stderr)
    first = (str(error).strip().splitlines() or ["no message"])[0]
    reason = plugins.fault(error) or f"{stage}: {type(error).__name__}: {first}"
    return MartletError(f"{reason} (the traceback is in {log / 'error.txt'})")


def main(stage: str, body: Stage) -> None:
    """Run a stage of the workspace in the current folder, as `dvc.yaml` does, and exit with the stage's code."""
    prepare_environment()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run(stage, body, load(Path("params.yaml")), Paths.here())
    except MartletError as error:
        print(f"martlet: {error}", file=sys.stderr)
        sys.stderr.flush()
        # Threads of libraries may still be busy; all files are on the disk.
        os._exit(error.exit_code)
