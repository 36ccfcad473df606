"""Parameter groups: weights that decay, and those that do not."""

from typing import Any

from components.config import Params
from components.towers import Parts
from components.training.job import transformers_model

PEFT_PREFIX = "base_model.model."
"""What peft puts before the names of a model's weights."""
NO_DECAY = [r"bias", r"layernorm", r"rmsnorm", r"(?:^|\.)norm(?:$|\.)", r"_norm(?:$|\.)"]
"""Names that transformers' Trainer leaves out of weight decay."""


def decay_groups(model: Any, params: Params) -> list[dict[str, Any]]:
    """Return the trainable weights of `model` in two groups: with weight decay, and biases and norms without. Towers
    and aligner of a multimodal model with a learning rate of their own are groups beside these."""
    from torch.nn import LayerNorm
    from transformers.trainer_pt_utils import get_parameter_names

    decaying = set(get_parameter_names(model, [LayerNorm], NO_DECAY))
    trainable = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    rates = {"vit": params.towers.vit_lr, "aligner": params.towers.aligner_lr}
    parts = Parts(transformers_model(model)) if any(rates.values()) else None
    groups: dict[tuple[float | None, bool], list[Any]] = {(None, True): [], (None, False): []}
    for name, weight in trainable:
        rate = rates.get(parts.of(name.removeprefix(PEFT_PREFIX))) if parts else None
        groups.setdefault((rate, name in decaying), []).append(weight)
    return [
        {"params": weights, "weight_decay": params.train.weight_decay if decays else 0.0}
        | ({"lr": rate} if rate else {})
        for (rate, decays), weights in groups.items()
    ]
