"""A script that runs in a side environment: JSON in, progress and a result out."""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from components import leash
from components.environments.catalogue import require, root
from components.errors import MartletError
from components.files import write_json, write_text

GRACE_S = 5
"""Seconds between SIGINT and SIGKILL when a call is stopped."""
CHILD = Path(__file__).with_name("_child.py")
Progress = Callable[[dict[str, Any]], object]


def call(
    name: str, script: Path, request: dict[str, Any], on_progress: Progress = lambda _: None, **env: str
) -> dict[str, Any]:
    """Run `run(request, report)` of a script in the environment `name`, and return its result.

    `on_progress` gets what the script reports; `env` is added to the variables of its process. The script ends with
    this process, and when the call is interrupted. What it and its libraries print is shown only when it fails: its
    last line in the error, all of it in `NAME.log` beside the environment.

    Raises:
        ConfigError: the environment is not installed.
        MartletError: the script raised an exception, or ended without a result.
    """
    return call_with(require(name), name, script, request, on_progress, **env)


def call_with(
    python: Path, name: str, script: Path, request: dict[str, Any], on_progress: Progress = lambda _: None, **env: str
) -> dict[str, Any]:
    """Run a script as `call` does, with the Python program of an environment that may not be complete yet."""
    with tempfile.TemporaryDirectory(prefix="martlet-call-") as folder, Path(folder, "log").open("w+b") as log:
        write_json(Path(folder, "request.json"), request)
        command = [python, "-I", CHILD, script.absolute(), Path(folder, "request.json")]
        process = leash.start(command, GRACE_S, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=log)
        try:
            answer = _answer(process.stdout or (), on_progress)
        finally:
            leash.end(process)
        if "result" in answer:
            return answer["result"]
        log.seek(0)
        raise _failure(name, script, answer, process.returncode, log.read().decode(errors="replace"))


def _answer(lines: Iterable[bytes], on_progress: Progress) -> dict[str, Any]:
    """Return the last message of a script: `{"result": …}`, `{"error": …}`, or `{}` where it was killed."""
    for line in lines:
        message = json.loads(line)
        if "progress" not in message:
            return message
        on_progress(message["progress"])
    return {}


def _failure(name: str, script: Path, answer: dict[str, Any], code: int, output: str) -> MartletError:
    path = root() / f"{name}.log"
    write_text(path, output)
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    last = f" ({lines[-1]})" if lines else ""
    reason = answer.get("error") or f"it ended with code {code}, perhaps because memory ran out{last}"
    return MartletError(f"{script.stem} failed in the environment '{name}': {reason}; its output is in {path}")
