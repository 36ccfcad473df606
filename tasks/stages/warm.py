"""The client of a run's host: a program runs in a process forked from the host, or here where there is none.

    python -m tasks.stages.warm MODULE WORDS…      does what `python -m MODULE WORDS…` does

The process of the program has the folder, environment, streams and import path of this one, gets its signals, and never
outlives it. This process ends as that one does: with its exit code, or by the same signal.
"""

import json
import os
import runpy
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, TextIO

ADDRESS = "MARTLET_HOST"
"""The variable that holds the path of the host's socket."""


def run(module: str, words: list[str]) -> None:
    """Run a module as a program; exit if it ran in another process."""
    sys.argv[1:] = words
    if forked := _fork(module):
        _follow(*forked)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _fork(module: str) -> tuple[int, TextIO] | None:
    """Let the host fork a process for a program; return the process group and a stream for a line with its wait status.

    None means that the program is to run here: there is no host, it has older code, or a variable that it read differs.
    """
    address = os.environ.pop(ADDRESS, None)
    if not address:
        return None
    request = {
        "module": module,
        "argv": sys.argv,
        "folder": str(Path.cwd()),
        "environment": dict(os.environ),
        "path": sys.path,
        "code": __file__,
    }
    with suppress(OSError):  # the host has ended
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address)
        socket.send_fds(connection, [b"\n"], [0, 1, 2])
        connection.sendall(json.dumps(request).encode() + b"\n")
        answers = connection.makefile()
        if group := answers.readline():
            return int(group), answers
    return None


def _follow(group: int, answers: TextIO) -> NoReturn:
    """Pass signals to the process group of the program until the program ends, and end likewise."""

    def forward(number: int, _: object) -> None:
        with suppress(ProcessLookupError):
            os.killpg(group, number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, forward)
    status = answers.readline()
    if not status:  # the parent of the program was killed
        forward(signal.SIGKILL, None)
    code = os.waitstatus_to_exitcode(int(status or signal.SIGKILL))
    if code < 0:
        with suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)


if __name__ == "__main__":
    run(sys.argv[1], sys.argv[2:])
