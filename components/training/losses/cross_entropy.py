"""Cross entropy, of targets that are smoothed where `label_smoothing_factor` says so (Szegedy et al. 2016)."""

from typing import Any

from components.config import Params


def losses(logits: Any, targets: Any, params: Params) -> Any:
    """Return the cross entropy of each token in nats."""
    from torch.nn import functional

    from components.training.cross_entropy import cross_entropy

    if smoothing := params.train.label_smoothing_factor:
        return functional.cross_entropy(logits.float(), targets, reduction="none", label_smoothing=smoothing)
    return cross_entropy(logits, targets)
