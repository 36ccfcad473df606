"""A program that runs a command and ends it with the parent process: `python leash.py GRACE COMMAND…`.

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
