"""A program that runs a command and ends it with the parent process: `python leash.py GRACE COMMAND…`.

    process = start(["dvc", "repro"], grace=30, stdout=log)
    end(process)

The parent starts the leash as the leader of a new session, with a pipe as standard input, and writes nothing to the
pipe. When the pipe closes, because the parent closes it or is killed, the whole process group of the command gets
SIGINT, and GRACE seconds later SIGKILL. A pipe works on macOS too, and unlike Linux's parent-death signal does not
fire when only the thread that started the process ends.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any


def start(command: Sequence[object], grace: float, **options: Any) -> subprocess.Popen[bytes]:
    """Start a command on a leash; `options` are those of `Popen`.

    Args:
        grace: seconds between SIGINT and SIGKILL.
    """
    words = [sys.executable, "-I", "-S", __file__, str(grace), *map(str, command)]
    return subprocess.Popen[bytes](words, stdin=subprocess.PIPE, start_new_session=True, **options)


def end(process: subprocess.Popen[bytes]) -> None:
    """Close the pipe of a leash, wait for its end, and kill the rest of its process group: the leash may have been
    killed before its command."""
    if process.stdin:
        process.stdin.close()
    process.wait()
    kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill a leash and its command at once."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def main() -> int:
    grace, command = float(sys.argv[1]), sys.argv[2:]
    # A handler, not SIG_IGN: children start with the default, even where the flow itself was started to ignore ctrl-C.
    signal.signal(signal.SIGINT, lambda *_: None)
    is_closed = threading.Event()

    def watch() -> None:
        with contextlib.suppress(OSError):
            os.read(0, 1)
        is_closed.set()
        os.killpg(0, signal.SIGINT)
        time.sleep(grace)
        os.killpg(0, signal.SIGKILL)

    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=watch, daemon=True).start()
    code = child.wait()
    if is_closed.is_set():
        os.killpg(0, signal.SIGKILL)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
