"""Parameter groups: weights that decay, and those that do not."""

from typing import Any

NO_DECAY = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]
"""Names that transformers' Trainer leaves out of weight decay."""


def decay_groups(model: Any, weight_decay: float) -> list[dict[str, Any]]:
    """Return the trainable weights of `model` in two groups: with weight decay, and biases and norms without."""
    from torch.nn import LayerNorm
    from transformers.trainer_pt_utils import get_parameter_names

    decaying = set(get_parameter_names(model, [LayerNorm], NO_DECAY))
    trainable = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    return [
        {"params": [weight for name, weight in trainable if name in decaying], "weight_decay": weight_decay},
        {"params": [weight for name, weight in trainable if name not in decaying], "weight_decay": 0.0},
    ]
