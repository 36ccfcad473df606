"""How a model is tuned: one file per method, found by its name.

    method = tuner(params.tuner.train_type)                       # lora → components/tuners/lora.py
    model = method.wrap(model, params.tuner, params.train.seed)
    method.save(model, folder)
    merged = method.merge(method.load(base, folder))

A new method is a new file here with those four functions and `DEFAULT_LEARNING_RATE`.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from components.errors import ConfigError, did_you_mean


def names() -> list[str]:
    """The methods there are."""
    return sorted(file.stem for file in Path(__file__).parent.glob("*.py") if not file.stem.startswith("_"))


def tuner(train_type: str) -> ModuleType:
    """Return the module of a method: `wrap`, `save`, `load`, `merge`, `DEFAULT_LEARNING_RATE`.

    Raises:
        ConfigError: there is no such method; the message lists those that exist.
    """
    if train_type not in names():
        nearest = did_you_mean(train_type, names())
        raise ConfigError(f"train_type: '{train_type}' is not known{nearest}; there are {', '.join(names())}")
    return import_module(f"{__name__}.{train_type}")
