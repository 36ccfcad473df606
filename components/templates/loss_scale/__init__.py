"""How much each part of an answer counts in the loss, by ms-swift's names.

A strategy is a file of this folder, or one of `--external_plugins`, with a function

    def weigh(response: str, query: str) -> list[tuple[str, float]]

that cuts the response into parts, whose texts joined are the response, and gives each its weight; `query` is the
message before it. The file's name is the strategy's. `a+b` applies b to the parts of a and multiplies; in front may
stand which turns are learned at all: `default` (every answer), `last_round` (those after the last question or tool
result) or `all` (every token of the row).
"""

import importlib
import importlib.util
import math
import pkgutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from components.errors import ConfigError, did_you_mean
from components.templates.loss_scale.parts import Parts

BASES = ("default", "last_round", "all")
Weigh = Callable[[str, str], Parts]


class LossScale(NamedTuple):
    """Which turns are learned (one of `BASES`), and the functions that weigh their parts."""

    base: str = "default"
    weighs: tuple[Weigh, ...] = ()

    def __call__(self, response: str, query: str) -> Parts:
        """The parts of a response and their weights, neighbours of one weight joined."""
        parts = [(response, 1.0)]
        for weigh in self.weighs:
            parts = [(text, weight * w) for part, weight in parts for text, w in weigh(part, query) if text]
        if not all(math.isfinite(weight) and weight >= 0 for _, weight in parts):
            raise ConfigError("loss_scale: a weight that a strategy returns must be a number of 0 or more")
        if "".join(text for text, _ in parts) != response:
            raise ConfigError("loss_scale: the parts that a strategy returns are not the response it was given")
        return parts


def strategy(spec: str, external_plugins: Sequence[str | Path] = ()) -> LossScale:
    """The strategy that `spec` names, such as `default`, `hermes` or `last_round+ignore_empty_think`.

    Raises:
        ConfigError: there is no such strategy, or a plugin is not one.
    """
    builtin = {module.name for module in pkgutil.iter_modules(__path__)} - {"parts"}
    plugins = {Path(file).stem: Path(file) for file in external_plugins}
    base, *names = spec.split("+") if spec.partition("+")[0] in BASES else ("default", *spec.split("+"))
    weighs = []
    for name in names:
        if name in plugins:
            weighs.append(_from_file(plugins[name]))
        elif name in builtin:
            weighs.append(importlib.import_module(f"{__name__}.{name}").weigh)
        else:
            known = sorted({*BASES, *builtin, *plugins})
            raise ConfigError(
                f"loss_scale: no strategy '{name}'{did_you_mean(name, known)}; there are {', '.join(known)}"
            )
    return LossScale(base, tuple(weighs))


def _from_file(file: Path) -> Weigh:
    if not file.is_file():
        raise ConfigError(f"external_plugins: {file}: no such file")
    spec = importlib.util.spec_from_file_location(f"martlet_plugin_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"external_plugins: {file}: is not a Python file")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"external_plugins: {file}: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, "weigh", None)):
        raise ConfigError(f"external_plugins: {file}: has no function `weigh(response, query)`")
    return module.weigh
