"""Contrastive loss (Hadsell et al. 2006): alike texts are to be near, others at least a margin apart."""

from typing import Any

from components.config import Params
from components.training.pair_losses import Pairs


def distances(pairs: Pairs) -> tuple[Any, Any]:
    """Return the cosine distance of every pair, positives first, and how alike the two are, from 0 to 1."""
    import torch

    others = torch.cat([pairs.positives, pairs.negatives])
    anchors = torch.cat([pairs.anchors, pairs.anchors[pairs.owners]])
    scores = torch.cat([pairs.scores, pairs.scores.new_zeros(len(pairs.negatives))])
    return 1 - (anchors * others).sum(-1), scores


def loss(pairs: Pairs, params: Params) -> Any:
    """Return the sum over pairs: half the squared distance of alike texts, half the squared lack of the margin of
    others."""
    apart, scores = distances(pairs)
    lack = (params.embedding.contrastive_margin - apart).relu()
    return 0.5 * (scores * apart.square() + (1 - scores) * lack.square()).sum()
