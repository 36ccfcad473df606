"""Commands as users type them, each in a process of its own in which torch and transformers are imported already.

Importing them takes longer than most commands of a test. So a server process imports them once, and each command is
forked from that server. A variable that a library reads when it is imported has no effect on such a command: start the
program itself where a test sets one.
"""

import faulthandler
import gc
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from subprocess import CompletedProcess, TimeoutExpired
from tempfile import TemporaryDirectory

_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(["apps.cli.training", "transformers.trainer", "peft", "datasets", "matplotlib.figure"])


class Command:
    """`martlet WORDS` running in `folder`, in a session of its own and on a screen of 100 columns.

    `text` is the input; `env` is added to the environment.
    """

    def __init__(self, folder: Path, *words: object, text: str = "", **env: str) -> None:
        self._files = TemporaryDirectory(prefix="martlet-command-")
        self._stdin, self._stdout, self._stderr = (Path(self._files.name, name) for name in ("in", "out", "err"))
        self._stdin.write_text(text)
        self._arguments = ["martlet", *map(str, words)]
        streams = (self._stdin, self._stdout, self._stderr)
        environment = os.environ | {"COLUMNS": "100"} | env
        self._process = _FORKS.Process(target=_command, args=(self._arguments, folder, environment, streams))
        self._process.start()
        self.pid = self._process.pid or 0

    def up_to(self, text: str, timeout: float = 60) -> str:
        """Wait until the command has printed `text`; return what it printed."""
        until = time.monotonic() + timeout
        while not (self._stdout.exists() and text in self._stdout.read_text()):
            assert self._process.is_alive() and time.monotonic() < until, f"'{text}' was not printed"
            time.sleep(0.01)
        return self._stdout.read_text()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it, if it still runs, without a chance to clean up."""
        self._process.kill()
        self._process.join()

    def wait(self, timeout: float = 120) -> CompletedProcess[str]:
        """Return the exit code and what was printed.

        Raises:
            TimeoutExpired: the command still ran after `timeout` seconds, and was killed.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            os.kill(self.pid, signal.SIGUSR1)  # where its threads are
            self._process.join(1)
            self._process.kill()
            late = TimeoutExpired(self._arguments, timeout)
            late.add_note(self._stderr.read_text())
            raise late
        printed = self._stdout.read_text(), self._stderr.read_text()
        return CompletedProcess(self._arguments, self._process.exitcode, *printed)


@contextmanager
def server_of(folder: Path, *words: object) -> Iterator[tuple[Command, str]]:
    """Run `martlet WORDS`, which serve, at a free port, with its base URL; what still runs at the end is killed."""
    server = Command(folder, *words, "--port", 0)
    try:
        yield server, server.up_to("/v1\n").partition("/v1\n")[0].rpartition(" at ")[2] + "/v1"
    finally:
        server.kill()


@contextmanager
def deployed(folder: Path, *words: object) -> Iterator[str]:
    """Run `martlet deploy WORDS` at a free port within the block, with its base URL; ctrl-C must end it."""
    with server_of(folder, "deploy", *words) as (server, url):
        yield url
        server.signal(signal.SIGINT)
        ended = server.wait()
        assert ended.returncode == 0, ended.stderr


def martlet(folder: Path, *words: object, code: int = 0, text: str = "", **env: str) -> str:
    """Run `martlet WORDS` in `folder`; return what it printed, or its error where `code` is not 0.

    The command must end with `code`, and without a traceback.
    """
    ended = Command(folder, *words, text=text, **env).wait()
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout if code == 0 else ended.stderr


def _command(arguments: Sequence[str], folder: Path, environment: dict[str, str], files: Sequence[Path]) -> None:
    os.setsid()
    gc.freeze()  # a training looks for garbage, which in all that was imported takes longer than a few steps
    for descriptor, file in enumerate(files):
        os.dup2(os.open(file, os.O_RDONLY if descriptor == 0 else os.O_WRONLY | os.O_CREAT), descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - multiprocessing has put the null device in its place
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))  # as Python does when it starts
    faulthandler.register(signal.SIGUSR1, sys.stderr, chain=False)
    sys.argv = list(arguments)
    from apps.cli.main import main

    main()
