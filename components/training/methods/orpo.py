"""Odds ratio preference optimisation (Hong et al. 2024, arXiv 2403.07691): the chosen answer's own loss, and beta times
a loss of the odds of both answers; no reference model."""

from components.config import Params
from components.tokens import ShapeName
from components.training.methods.cpo import trainer

__all__ = ["SHAPE", "losses", "trainer"]

SHAPE: ShapeName = "preference"


def losses(params: Params, named: dict[str, float]) -> dict[str, float]:  # noqa: ARG001
    """Return ORPO's two losses."""
    return {"sft": 1.0, "orpo": 1.0}
