"""An engine that is a program: started as a process on a private port, ready after real completions."""

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from components import leash
from components.config import Params
from components.errors import MartletError, without_credentials
from components.inference.address import bind
from components.inference.engines import ServeSettings
from components.inference.engines._canary import require_difference
from components.inference.engines._description import LOOPBACK, Description, describe
from components.inference.engines._parity import require_parity
from components.inference.engines._ready import require_completion
from components.inference.place import Upstream

START_TIMEOUT_S = 1800
"""A large model on a slow disk takes many minutes to load."""
STOP_GRACE_S = 20
"""Seconds between SIGINT and SIGKILL: an engine then ends the requests under way."""
PROGRESS_INTERVAL_S = 15
POLL_INTERVAL_S = 0.5
AT_ONCE = 256
"""Requests that are taken to be computed together where an engine decides that by the memory it finds."""
_REASON = re.compile(
    r"^(?:.*\] |\([^)]*\) |.*(?=error: ))?((?:[\w.]*(?:Error|Exception)\b|error)(?:: .*)?)$", re.MULTILINE
)
"""An exception's last line, or what argparse says, behind the prefix of a log's line."""
_SYMPTOMS = ("root cause", "See stack trace", "initialization failed")
"""Parts of the errors that processes report about the failure of another process."""


@dataclass(frozen=True)
class Engine:
    """How the program of an engine is started.

    Attributes:
        command: from a description, all parameters, and a folder for files, to the command line without the key.
        key_variable: the variable of its environment from which it takes the key.
        variables: defaults of its environment.
        at_once: from all parameters to the number of requests that it computes together.
        has_tokenize: it has vLLM's /tokenize, by which its prompts are compared with those of the training.
    """

    name: str
    command: Callable[[Description, Params, Path], list[object]]
    key_variable: str
    variables: Mapping[str, str] = field(default_factory=dict)
    at_once: Callable[[Params], int] = lambda _: AT_ONCE
    has_tokenize: bool = False


class Program(Upstream):
    """A process that serves a model.

    It gets its key in its environment, and also ends when this process does. What it prints goes to a log file, whose
    name stands on the screen, and which stays only after a failure.

    Raises:
        ConfigError: the engine cannot serve this.
        MartletError: an adapter does not fit the model.
    """

    def __init__(self, engine: Engine, model: Path, adapters: Mapping[str, Path], settings: ServeSettings):
        self.engine, self.settings = engine, settings
        self.folder = tempfile.TemporaryDirectory(prefix=f"martlet-{engine.name}-")
        port = _free_port()
        super().__init__(f"http://{LOOPBACK}:{port}", secrets.token_urlsafe(32))
        self.description = describe(model, adapters, settings, port, Path(self.folder.name))
        command = engine.command(self.description, settings.params, Path(self.folder.name))
        descriptor, name = tempfile.mkstemp(prefix=f"martlet-{engine.name}-", suffix=".log")
        print(f"starting {engine.name}; its output: {name}", file=sys.stderr, flush=True)
        self.log = Path(name)
        with os.fdopen(descriptor, "wb") as output:
            variables = _environment(engine, self.key)
            self.process = leash.start(command, STOP_GRACE_S, env=variables, stdout=output, stderr=subprocess.STDOUT)

    def require_ready(self) -> None:
        """Wait until the program is up, and check that each name answers as it should.

        Raises:
            MartletError: it ends, does not answer within START_TIMEOUT_S, does not apply an adapter, or asks the model
                otherwise than it was trained.
        """
        self._wait_until_up()
        url, model = f"{self.root}/v1", self.description
        try:
            for name in (*model.names, *model.adapters):
                self._require_completion(url, name)
            for name, folder in model.adapters.items():
                require_difference(url, model.names[0], name, folder, self.key)
            if self.engine.has_tokenize:
                require_parity(url, model, self.settings, self.key)
        except httpx.HTTPError as error:
            raise MartletError(f"{self.engine.name} broke off before it was ready: {self.reason()}") from error

    def _require_completion(self, url: str, name: str) -> None:
        try:
            require_completion(url, name, self.key)
        except MartletError as error:
            raise MartletError(f"{error}; its log says: {self.reason()}") from error

    def reason(self) -> str:
        """Return why the program ended, and where its output is."""
        code = self.process.poll() or 0  # of the leash: 128 and the number of the signal
        killer = f"killed by {signal.Signals(code - 128).name}" if code > 128 else None
        return f"{killer or reason(self.log)}; its output is in {self.log}"

    def end(self) -> None:
        """End the program and the rest of its processes."""
        leash.end(self.process)
        self.folder.cleanup()

    def _wait_until_up(self) -> None:
        """Wait until the server lists its models; show the last line of its log now and then."""
        name, url, headers = self.engine.name, f"{self.root}/v1/models", {"Authorization": f"Bearer {self.key}"}
        begin = shown = time.monotonic()
        while True:
            with suppress(httpx.HTTPError):
                if httpx.get(url, headers=headers, timeout=5, trust_env=False).is_success:
                    return
            now = time.monotonic()
            if self.process.poll() is not None:
                raise MartletError(f"{name} ended before it answered: {self.reason()}")
            if now - begin > START_TIMEOUT_S:
                raise MartletError(f"{name} does not answer after {START_TIMEOUT_S} s; its output is in {self.log}")
            if now - shown > PROGRESS_INTERVAL_S:
                shown = now
                print(f"{name}, {now - begin:.0f} s: {_last_line(self.log)}", file=sys.stderr, flush=True)
            time.sleep(POLL_INTERVAL_S)


def _free_port() -> int:
    with bind(LOOPBACK, 0) as listening:
        return listening.getsockname()[1]


def _environment(engine: Engine, key: str) -> dict[str, str]:
    """Return the variables of the program: the user's win over the defaults, and Martlet's Python path is not its."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**engine.variables, **inherited, engine.key_variable: key}


def reason(log: Path) -> str:
    """Return the error in a log that explains the end of its program best: the last that is about no other error."""
    text = without_credentials(log.read_text(encoding="utf-8", errors="replace"))
    errors = [match.strip() for match in _REASON.findall(text)]
    causes = [error for error in errors if not any(symptom in error for symptom in _SYMPTOMS)]
    return next(iter((causes or errors)[-1:]), None) or _last_line(log)


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it has said nothing")[:200]
