"""Parameters of LoRA and its variants. Read by the stage `train`."""

from typing import Literal

from components.config.fields import Group, field


class Lora(Group):
    """Low-rank matrices beside frozen layers (lora, dora)."""

    lora_rank: int = field(8, "rank of the LoRA matrices", "lora_r", gt=0)
    lora_alpha: float = field(32, "LoRA scaling: the update is multiplied by alpha / rank", gt=0)
    lora_dropout: float = field(0.05, "dropout on the input of LoRA", ge=0.0, lt=1.0)
    use_rslora: bool = field(False, "scale by alpha / sqrt(rank) (arXiv 2312.03732)")
    init_weights: Literal["true", "gaussian", "orthogonal", "pissa", "olora", "eva", "loftq"] = field(
        "true",
        "first values: random and zero (true, gaussian, orthogonal); the largest part of the weights themselves, "
        "which the frozen weights then lack (pissa: singular vectors, olora: QR); what layers read in rows of the "
        "run, by which the ranks are shared out among the layers (eva); or the largest part of what --quant_method "
        "takes from the weights (loftq)",
        "init_lora_weights",
    )
