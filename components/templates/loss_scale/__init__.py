"""How much each part of an answer counts in the loss, by ms-swift's names.

A strategy is a file of this folder, or one of `--external_plugins`, with a function

    def weigh(response: str, query: str) -> list[tuple[str, float]]

that cuts the response into parts, whose texts joined are the response, and gives each its weight; `query` is the
message before. The file's name is the strategy's. `a+b` applies b to the parts of a and multiplies; in front may stand
which turns are learned at all: `default` (every answer), `last_round` (those after the last question or tool result) or
`all` (every token of the samples that `default` gives).
"""

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

from components.errors import ConfigError
from components.plugins import Kind, where
from components.templates.loss_scale._parts import Parts

BASES = ("default", "last_round", "all")
"""Which turns are learned."""
TurnWeights = dict[int, float | None]
"""By assistant's turn: 0 where the turn is not learned, None where the strategies weigh its parts."""


class Strategy(Protocol):
    """A module that weighs the parts of a response."""

    weigh: Callable[[str, str], Parts]


STRATEGIES = Kind("loss scale", "loss_scale", "components.templates.loss_scale", Strategy)


class LossScale(NamedTuple):
    """Which turns are learned (one of `BASES`), and the strategies that weigh their parts."""

    base: str = "default"
    strategies: tuple[Strategy, ...] = ()

    def __call__(self, response: str, query: str) -> Parts:
        """Return the parts of a response and their weights.

        Raises:
            ConfigError: a strategy raises, or returns no parts and weights of the response; the message names the line.
        """
        parts = [(response, 1.0)]
        for strategy in self.strategies:
            parts = [(text, weight * w) for part, weight in parts for text, w in _weigh(strategy, part, query) if text]
        return parts


@lru_cache(maxsize=10_000)
def turn_weights_of(base: str, roles: tuple[str, ...]) -> TurnWeights:
    """Return the weights of the assistant's turns for a row of `roles` without weights of its own."""
    last_question = max((i for i, role in enumerate(roles) if role in ("user", "tool")), default=-1)
    last_only = base == "last_round"
    turns = [i for i, role in enumerate(roles) if role == "assistant"]
    return {i: 0.0 if last_only and i < last_question else None for i in turns}


def strategy(spec: str, external_plugins: Sequence[str | Path] = ()) -> LossScale:
    """Return the loss scale of a name such as `default`, `hermes` or `last_round+ignore_empty_think`.

    Raises:
        ConfigError: there is no such strategy, or a plugin is not one.
    """
    base, names = parse(spec)
    files = [Path(file) for file in external_plugins]
    return LossScale(base, tuple(STRATEGIES.load(name, files) for name in names))


def parse(spec: str) -> tuple[str, list[str]]:
    """Return which turns are learned and the names of the strategies: `last_round+hermes` → last_round, [hermes].

    Raises:
        ConfigError: one of `BASES` does not stand in front.
    """
    base, *names = spec.split("+") if spec.partition("+")[0] in BASES else ("default", *spec.split("+"))
    if misplaced := set(BASES).intersection(names):
        raise ConfigError(f"loss_scale: {spec}: `{min(misplaced)}` stands once, in front of the others")
    return base, names


def _weigh(strategy: Strategy, response: str, query: str) -> Parts:
    """Return the parts of a response by one strategy.

    Raises:
        ConfigError: as `LossScale.__call__`.
    """
    file = Path(str(getattr(strategy, "__file__", "")))
    try:
        parts = list(strategy.weigh(response, query))
        valid = all(math.isfinite(weight) and weight >= 0 for _, weight in parts)
        whole = "".join(text for text, _ in parts) == response
    except Exception as error:
        raise ConfigError(f"loss_scale: {where(error, file) or file}: {type(error).__name__}: {error}") from error
    code = getattr(strategy.weigh, "__code__", None)
    line = f"{file}:{code.co_firstlineno}" if code else str(file)
    if not valid:
        raise ConfigError(f"loss_scale: {line}: a weight that `weigh` returns must be a number of 0 or more")
    if not whole:
        raise ConfigError(f"loss_scale: {line}: the parts that `weigh` returns are not the response")
    return parts
