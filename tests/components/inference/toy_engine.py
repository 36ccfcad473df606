"""An engine whose program is `engine_program.py`; its WAY is the name of the model's folder. Also a plugin for the
command line."""

import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from components.inference import ServeSettings
from components.inference.engines._program import Engine
from components.inference.engines._supervisor import supervised

PROGRAM = Path(__file__).with_name("engine_program.py")
TOY = Engine(
    "toy",
    lambda model, *_: [sys.executable, PROGRAM, model.port, model.model.name],
    key_variable="ENGINE_KEY",
    at_once=lambda _: 2,
)


@contextmanager
def served(model: Path, adapters: Mapping[str, Path], settings: ServeSettings) -> Generator[str]:
    """See `Engine.served`."""
    with supervised(TOY, model, adapters, settings) as url:
        yield url
