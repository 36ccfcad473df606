"""absl (2.5), which rouge-score imports: its handler on the root logger closes the stream that was standard error at
the import, as soon as another library sets up logging, unless that stream is the process's own. No version ends it."""

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def without_its_handler() -> Generator[None]:
    """Import within the block what may import absl: the root logger keeps its handlers, and absl's closes nothing."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        if module := sys.modules.get("absl.logging"):
            module.get_absl_handler().python_handler.setStream(sys.__stderr__)
        root.handlers[:] = handlers
        root.setLevel(level)
