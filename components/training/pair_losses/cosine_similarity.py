"""Cosine similarity: that of two texts is to be their score (Reimers and Gurevych 2019)."""

from typing import Any

from components.config import Params
from components.training.pair_losses import Pairs


def loss(pairs: Pairs, params: Params) -> Any:
    """Return the sum of the squared differences between similarity and score, which is 0 for a negative."""
    alike = (pairs.anchors * pairs.positives).sum(-1) - pairs.scores
    unlike = (pairs.anchors[pairs.owners] * pairs.negatives).sum(-1)
    return alike.square().sum() + unlike.square().sum()
