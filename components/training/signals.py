"""Signal handlers: ctrl-C or SIGTERM ends a run after the current step, with a checkpoint; a second one at once."""

import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stopping(event: threading.Event) -> Generator[None]:
    """Let the first SIGINT or SIGTERM set `event`, and restore the previous handlers; a no-op outside the main thread,
    where Python allows no handlers."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous: dict[int, Any] = {}
    owner = os.getpid()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def request(number: int, frame: Any) -> None:  # noqa: ARG001
        if os.getpid() == owner:  # the workers of a data loader inherit the handler, and ignore the signal
            event.set()
            restore()
            print("stopping after this step, with a checkpoint; again to stop at once", file=sys.stderr, flush=True)

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, request)
    try:
        yield
    finally:
        restore()
