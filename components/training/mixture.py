"""The losses that a run learns by, and the weight of each."""

from pathlib import Path
from typing import Any, NamedTuple

from components.config import Params
from components.plugins import Kind
from components.training.losses import LOSSES
from components.training.methods import METHODS
from components.training.pair_losses import PAIR_LOSSES
from components.training.policy_losses import POLICY_LOSSES
from components.training.preference_losses import PREFERENCE_LOSSES
from components.training.unpaired_losses import UNPAIRED_LOSSES

KINDS: dict[str, tuple[Kind[Any], str]] = {
    "pair": (PAIR_LOSSES, "infonce"),
    "preference": (PREFERENCE_LOSSES, "sigmoid"),
    "label": (UNPAIRED_LOSSES, "kto"),
    "prompt": (POLICY_LOSSES, "grpo"),
}
"""Shape of tokens to the kind of its losses, and the one where none is named; other shapes have a loss per token."""


class Mixture(NamedTuple):
    """Losses of one kind: the weight of each by its name."""

    kind: Kind[Any]
    weights: dict[str, float]

    @property
    def methods(self) -> list[tuple[Kind[Any], str]]:
        """The kind and the name of each loss."""
        return [(self.kind, name) for name in self.weights]


def mixture_of(params: Params, external: list[Path]) -> Mixture:
    """Return the losses of a run: those that its method mixes, or those that `loss_type` names."""
    method = _method(params, external)
    kind, default = KINDS.get(getattr(method, "SHAPE", ""), (LOSSES, "cross_entropy"))
    names = params.train.loss_type or [default]
    named = dict(zip(names, params.preference.loss_weights or [1.0] * len(names), strict=False))
    return Mixture(kind, method.losses(params, named) if hasattr(method, "losses") else named)


def mixture_problems(params: Params, external: list[Path]) -> list[str]:
    """Return a sentence if several losses are named for a method that learns by one, and if weights and losses are of
    different numbers."""
    names, weights, sentences = params.train.loss_type, params.preference.loss_weights, list[str]()
    if len(names) > 1 and not getattr(_method(params, external), "MIXES", False):
        sentences.append(f"loss_type: {params.method.name} learns by one loss; name one of {', '.join(names)}")
    if weights and len(weights) != max(len(names), 1):
        sentences.append(f"loss_weights: {len(weights)} of {max(len(names), 1)} losses (--loss_type); give each one")
    return sentences


def one_loss(params: Params, external: list[Path]) -> tuple[Any, str]:
    """Return the loss of a run that learns by one, and its name."""
    kind, weights = mixture_of(params, external)
    [name] = weights
    return kind.load(name, external), name


def _method(params: Params, external: list[Path]) -> Any:
    """Return the run's method, None where there is none of its name."""
    name = params.method.name
    return METHODS.load(name, external) if METHODS.has(name, external) else None
