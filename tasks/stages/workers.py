"""Several processes that train together: torchrun starts them, and the stage waits for them and tells why they failed.

A process is the stage's own module with a job file as its argument: `python -m tasks.stages.train JOB.json`.
"""

import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from components import plugins
from components.config import Params
from components.errors import ERRORS, MartletError, without_credentials
from components.files import read_json, write_json
from components.parallel import die_with_parent
from components.training import ranks
from tasks import leash
from tasks.stages.environment import prepare_environment
from tasks.stages.paths import Paths
from tasks.stages.runner import interrupted

GRACE_S = 30
"""Seconds that processes have for a checkpoint when the run is stopped."""


def launch(module: str, params: Params, paths: Paths, start: Path | None) -> dict[str, Any]:
    """Run `module` in `nproc_per_node` processes of this machine, to train from the checkpoint `start`.

    Returns rank 0's result.

    Raises:
        MartletError: of the process that failed first, with its exit code; or that one died without a word.
    """
    log = paths.log("train")
    for old in (*log.glob("rank-*.json"), log / "summary.json"):
        old.unlink(missing_ok=True)
    job = log / "job.json"
    places = {field.name: getattr(paths, field.name) for field in fields(Paths)}
    write_json(job, {"params": params.model_dump(mode="json"), "paths": _texts(places), **_texts({"start": start})})
    count = params.distributed.nproc_per_node
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
    command = [sys.executable, *torchrun, "-m", module, str(job)]
    with (log / "workers.log").open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", leash.__file__, str(GRACE_S), *command],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"},
        )
        stopped = _wait(process)
    if (log / "summary.json").is_file():
        return read_json(log / "summary.json")
    raise _failure(paths, process.returncode, stopped)


def _wait(process: subprocess.Popen[bytes]) -> bool:
    """Wait for the end; return whether a signal asked for it. The first one lets all processes write a checkpoint."""
    stopped = False

    def stop(number: int, frame: Any) -> None:  # noqa: ARG001
        nonlocal stopped
        if stopped:
            os.killpg(process.pid, signal.SIGKILL)
        stopped = True
        assert process.stdin
        process.stdin.close()

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return stopped


def _failure(paths: Paths, code: int, stopped: bool) -> MartletError:
    log = paths.log("train")
    reasons = sorted((read_json(file) for file in log.glob("rank-*.json")), key=lambda reason: reason["time"])
    if reasons:
        return ERRORS.get(reasons[0]["exit_code"], MartletError)(reasons[0]["message"])
    if stopped:
        return interrupted("train", paths)
    return MartletError(f"train: a process died and left no reason (exit code {code}; see {log / 'workers.log'})")


def work(body: Callable[[Params, Paths, Path | None], dict[str, Any]]) -> None:
    """Run `body` on the job file in this process, and write rank 0's result, or the reason of a failure, to the stage's
    log folder."""
    die_with_parent()
    prepare_environment()
    job = json.loads(Path(sys.argv[1]).read_text())
    paths = Paths(**_paths(job["paths"]))
    log, code = paths.log("train"), 0
    try:
        result = body(Params.model_validate(job["params"]), paths, _paths({"start": job["start"]})["start"])
        if ranks.is_writer():
            write_json(log / "summary.json", result)
    except Exception as error:
        print(
            without_credentials(traceback.format_exc()), file=sys.stderr
        )  # in workers.log, as all that a process prints
        problem = error if isinstance(error, MartletError) else MartletError(_reason(error, log))
        reason = {"time": time.time(), "message": str(problem), "exit_code": problem.exit_code}
        write_json(log / f"rank-{ranks.rank()}.json", reason)
        code = problem.exit_code
    sys.stdout.flush()
    os._exit(code)


def _reason(error: Exception, log: Path) -> str:
    reason = plugins.fault(error) or f"train: {type(error).__name__}: {(str(error).splitlines() or ['no message'])[0]}"
    return f"{reason} (the traceback is in {log / 'workers.log'})"


def _texts(paths: dict[str, Path | None]) -> dict[str, str | None]:
    return {name: str(path) if path else None for name, path in paths.items()}


def _paths(texts: dict[str, str | None]) -> dict[str, Any]:
    return {name: Path(text) if text else None for name, text in texts.items()}
