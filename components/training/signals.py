"""Ctrl-C and SIGTERM end a run at the next step, with a checkpoint; a second one ends it at once."""

import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


@contextmanager
def stopping(event: threading.Event) -> Generator[None]:
    """Let the first SIGINT or SIGTERM set `event`; outside of the main thread signals are left alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous: dict[int, Any] = {}
    owner = os.getpid()

    def restore() -> None:
        for number, handler in previous.items():
            signal.signal(number, handler)

    def request(number: int, frame: Any) -> None:  # noqa: ARG001
        if os.getpid() == owner:  # a data loader's workers inherit the handler, and just go on
            event.set()
            restore()
            print("stopping after this step, with a checkpoint; once more stops at once", file=sys.stderr, flush=True)

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, request)
    try:
        yield
    finally:
        restore()
