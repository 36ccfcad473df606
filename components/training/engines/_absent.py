"""A training without DeepSpeed where DeepSpeed is installed.

accelerate 1.15 imports DeepSpeed each time that it unwraps a model, whichever engine trains: seconds, and lines on the
screen. Goes when `extract_model_from_parallel` looks at `sys.modules` instead.
"""

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

NAME = "deepspeed"


@contextmanager
def without_deepspeed() -> Generator[None]:
    """Let DeepSpeed, unless it is imported already, count as not installed while the block runs."""
    modules: dict[str, Any] = sys.modules
    if NAME in modules:
        yield
        return
    modules[NAME] = None
    try:
        yield
    finally:
        del modules[NAME]
