"""Runs a command that must not outlive who started it: `python leash.py GRACE COMMAND…`, as a process of its own.

Whoever starts it (as the leader of a new session) holds the other end of its standard input and writes nothing. When
that end closes, by will or because its holder was killed, the command's whole process group is interrupted, and killed
GRACE seconds later at the latest. A pipe does what Linux' parent-death signal does, on macOS too, and is not fooled by
the end of a mere thread.
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
    released = threading.Event()

    def watch() -> None:
        with contextlib.suppress(OSError):
            os.read(0, 1)
        released.set()
        os.killpg(0, signal.SIGINT)
        time.sleep(grace)
        os.killpg(0, signal.SIGKILL)

    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    threading.Thread(target=watch, daemon=True).start()
    code = child.wait()
    if released.is_set():
        os.killpg(0, signal.SIGKILL)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main())
