"""Quantizers: one file per variant, found by its name (`bnb-int8` is bnb_int8.py).

A file has `quantize(source, folder, rows)`, which writes weights and config.json of the quantized model of the folder
`source` into `folder` (`rows` of token ids are there to calibrate on), and `LAYER`, the name of the class that a
quantized layer has once the folder is loaded.
"""

from importlib import import_module
from pathlib import Path
from types import ModuleType

from components.errors import ConfigError, did_you_mean


def names() -> list[str]:
    """The variants that can be made."""
    files = (file.stem for file in Path(__file__).parent.glob("*.py"))
    return sorted(stem.replace("_", "-") for stem in files if not stem.startswith("_"))


def quantizer(variant: str) -> ModuleType:
    """Return the module of a variant.

    Raises:
        ConfigError: there is no such variant; the message lists those that exist.
    """
    if variant not in names():
        nearest = did_you_mean(variant, names())
        raise ConfigError(f"quantize: there is no variant '{variant}'{nearest}; there are {', '.join(names())}")
    return import_module(f"{__name__}.{variant.replace('-', '_')}")
