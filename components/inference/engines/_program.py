"""An engine that is a program: started as a process, ready after real completions, gone on exit."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

from components import leash
from components.errors import MartletError, without_credentials
from components.inference.address import bind
from components.inference.engines import ServeSettings
from components.inference.engines._canary import require_difference
from components.inference.engines._description import Description
from components.inference.engines._ready import require_completion

START_TIMEOUT_S = 1800
"""A large model on a slow disk takes many minutes to load."""
STOP_GRACE_S = 20
"""Seconds between SIGINT and SIGKILL: an engine then ends the requests under way."""
PROGRESS_INTERVAL_S = 15
POLL_INTERVAL_S = 0.5
_REASON = re.compile(
    r"^(?:.*\] |\([^)]*\) |.*(?=error: ))?((?:[\w.]*(?:Error|Exception)\b|error)(?:: .*)?)$", re.MULTILINE
)
"""An exception's last line, or what argparse says, behind the prefix of a log's line."""
_SYMPTOMS = ("root cause", "See stack trace", "initialization failed")
"""Parts of the errors that processes report about the failure of another process."""


def free_port(settings: ServeSettings) -> int:
    """Return the port to listen on: the one of the settings, or a free one.

    Raises:
        ConfigError: the port is in use, or the address needs a key.
    """
    with bind(settings.host, settings.port, settings.api_key) as listening:
        return listening.getsockname()[1]


@contextmanager
def running(
    engine: str,
    command: Sequence[object],
    model: Description,
    api_key: str | None,
    key_variable: str,
    **variables: str,
) -> Generator[str]:
    """Run an engine's program; enter with its base URL once it answers, and end all its processes on exit.

    The program gets the API key in the variable `key_variable`; `variables` are defaults of its environment. It also
    ends when this process does. What it prints goes to a log file, whose name stands on the screen, and which stays
    only after a failure.

    Raises:
        MartletError: the program ends, does not answer within START_TIMEOUT_S, or does not apply an adapter.
    """
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(model.host, model.host)
    url = f"http://[{host}]:{model.port}/v1" if ":" in host else f"http://{host}:{model.port}/v1"
    descriptor, name = tempfile.mkstemp(prefix=f"martlet-{engine}-", suffix=".log")
    print(f"starting {engine}; its output: {name}", file=sys.stderr, flush=True)
    log = Path(name)
    with os.fdopen(descriptor, "wb") as output:
        variables = _environment(variables, key_variable, api_key)
        process = leash.start(command, STOP_GRACE_S, env=variables, stdout=output, stderr=subprocess.STDOUT)
    try:
        _require_ready(engine, process, url, model, api_key, log)
        with _interrupted_by(process):
            yield url
        if process.poll() is not None:
            raise MartletError(f"{engine} ended while it served: {reason(log)}; its output is in {log}")
    finally:
        leash.end(process)
    log.unlink()


@contextmanager
def _interrupted_by(process: subprocess.Popen[bytes]) -> Generator[None]:
    """Interrupt the block, as ctrl-C would, when a process ends, and leave the block then without an error."""

    def interrupt() -> None:
        process.wait()
        if not is_left.is_set():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    is_left = threading.Event()
    threading.Thread(target=interrupt, daemon=True).start()
    try:
        yield
    except KeyboardInterrupt:
        if process.poll() is None:
            raise
    finally:
        is_left.set()


def _require_ready(
    engine: str, process: subprocess.Popen[bytes], url: str, model: Description, key: str | None, log: Path
) -> None:
    """Wait until an engine is up, and check that each name answers, and no adapter as the base does."""
    _wait_until_up(engine, process, url, key, log)
    for name in (*model.names, *model.adapters):
        try:
            require_completion(url, name, key)
        except MartletError as error:
            raise MartletError(f"{error}; its log says: {reason(log)}; its output is in {log}") from error
    for name, folder in model.adapters.items():
        require_difference(url, model.names[0], name, folder, key)


def _environment(defaults: Mapping[str, str], key_variable: str, key: str | None) -> dict[str, str]:
    """Return the variables of the program: the user's win over the defaults, and Martlet's Python path is not its."""
    inherited = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", key_variable)}
    return {**defaults, **inherited, **({key_variable: key} if key else {})}


def _wait_until_up(engine: str, process: subprocess.Popen[bytes], url: str, key: str | None, log: Path) -> None:
    """Wait until the server lists its models; show the last line of its log now and then."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    begin = shown = time.monotonic()
    while True:
        with suppress(httpx.HTTPError):
            if httpx.get(f"{url}/models", headers=headers, timeout=5, trust_env=False).is_success:
                return
        now = time.monotonic()
        if process.poll() is not None:
            raise MartletError(f"{engine} ended before it answered: {reason(log)}; its output is in {log}")
        if now - begin > START_TIMEOUT_S:
            raise MartletError(f"{engine} does not answer after {START_TIMEOUT_S} s; its output is in {log}")
        if now - shown > PROGRESS_INTERVAL_S:
            shown = now
            print(f"{engine}, {now - begin:.0f} s: {_last_line(log)}", file=sys.stderr, flush=True)
        time.sleep(POLL_INTERVAL_S)


def reason(log: Path) -> str:
    """Return the error in a log that explains the end of its program best: the last that is about no other error."""
    text = without_credentials(log.read_text(encoding="utf-8", errors="replace"))
    errors = [match.strip() for match in _REASON.findall(text)]
    causes = [error for error in errors if not any(symptom in error for symptom in _SYMPTOMS)]
    return next(iter((causes or errors)[-1:]), None) or _last_line(log)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it has said nothing")[:200]
