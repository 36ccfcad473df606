"""Simple preference optimisation (Meng et al. 2024, arXiv 2405.14734): no reference model, means over tokens, a margin.

`--cpo_alpha 0` is the paper's loss; otherwise the chosen answer's own is added, as in ms-swift and TRL (CPO-SimPO).
"""

from components.config import Params
from components.tokens import ShapeName
from components.training.methods.cpo import trainer

__all__ = ["SHAPE", "losses", "trainer"]

SHAPE: ShapeName = "preference"


def losses(params: Params, named: dict[str, float]) -> dict[str, float]:  # noqa: ARG001
    """Return SimPO's loss, and the chosen answer's own with the weight `cpo_alpha`."""
    return {"simpo": 1.0, "sft": params.preference.cpo_alpha}
