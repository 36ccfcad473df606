"""InfoNCE (van den Oord et al. 2018): of all texts at hand, the positive is to be the most like its anchor."""

from typing import Any

from components.config import Params
from components.training.pair_losses import Pairs


def loss(pairs: Pairs, params: Params) -> Any:
    """Return the sum of the cross entropies of finding the positive among all positives and negatives of the batch, or
    with `infonce_use_batch` false among those of its own row; scores are not read."""
    import torch
    from torch.nn import functional

    settings, rows = params.embedding, torch.arange(len(pairs.anchors), device=pairs.anchors.device)
    texts = torch.cat([pairs.positives, pairs.negatives])
    similarities = pairs.anchors @ texts.T / settings.infonce_temperature
    if not settings.infonce_use_batch:
        similarities = similarities.masked_fill(rows[:, None] != torch.cat([rows, pairs.owners]), float("-inf"))
    return functional.cross_entropy(similarities, rows, reduction="sum")
