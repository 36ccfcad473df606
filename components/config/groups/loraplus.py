"""Parameters of the optimizer LoRA+. Read by the stage `train`."""

from components.config.fields import Group, field


class LoraPlus(Group):
    """LoRA+: matrices B learn faster than matrices A (--optimizer loraplus)."""

    lorap_lr_ratio: float = field(16.0, "learning rate of LoRA's B as a multiple of A's", gt=0)
    lorap_emb_lr: float = field(1e-6, "learning rate of LoRA on embeddings", gt=0)
