"""Online contrastive loss (sentence-transformers' OnlineContrastiveLoss): contrastive, on the hard pairs of a batch."""

from typing import Any

from components.config import Params
from components.training.pair_losses import Pairs
from components.training.pair_losses.contrastive import distances


def loss(pairs: Pairs, params: Params) -> Any:
    """Return the sum over those alike texts that are farther apart than the nearest others, and those others that are
    nearer than the farthest alike ones. A score of 0.5 and above is alike."""
    apart, scores = distances(pairs)
    alike, others = apart[scores >= 0.5], apart[scores < 0.5]
    farthest = alike.max() if len(alike) > 1 else others.mean() if len(others) else apart.max()
    nearest = others.min() if len(others) > 1 else alike.mean() if len(alike) else apart.min()
    hard_alike, hard_others = alike[alike > nearest], others[others < farthest]
    lack = (params.embedding.contrastive_margin - hard_others).relu()
    nothing = 0 * apart.sum()  # a batch without hard pairs learns nothing, and has a gradient of zeros
    return hard_alike.square().sum() + lack.square().sum() + nothing
