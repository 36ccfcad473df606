"""LoRA+ (Hayou et al. 2024, arXiv 2402.12354): AdamW with a higher learning rate for LoRA's B than for A."""

from typing import Any

from components.config import Params
from components.errors import ConfigError

TUNERS = ("lora", "dora")
SHARDED = True


def build(model: Any, params: Params) -> Any:
    """Return peft's LoRA+ over the matrices of a LoRA adapter.

    Raises:
        ConfigError: the model has no LoRA adapter.
    """
    from peft.optimizers import create_loraplus_optimizer
    from torch.optim import AdamW

    if not any("lora_B" in name for name, _ in model.named_parameters()):
        raise ConfigError("optimizer: loraplus needs LoRA's matrices; use it with --tuner_type lora or dora")
    train = params.train
    return create_loraplus_optimizer(
        model,
        AdamW,
        lr=train.learning_rate or 0.0,
        loraplus_lr_ratio=params.loraplus.lorap_lr_ratio,
        loraplus_lr_embedding=params.loraplus.lorap_emb_lr,
        loraplus_weight_decay=train.weight_decay,
        betas=(train.adam_beta1, train.adam_beta2),
        eps=train.adam_epsilon,
    )
