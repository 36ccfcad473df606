"""Parameters of the optimizer GaLore. Read by the stage `train`."""

from typing import Literal

from components.config.fields import Group, Names, field


class Galore(Group):
    """GaLore: AdamW on gradients that are projected to a low rank (--optimizer galore)."""

    galore_target_modules: Names = field(
        ["all-linear"], "layers with projected gradients: names, or all-linear; other weights learn by plain AdamW"
    )
    galore_rank: int = field(128, "rank that gradients are projected to", gt=0)
    galore_update_proj_gap: int = field(50, "optimizer steps between two new projections", gt=0)
    galore_scale: float = field(1.0, "factor of the projected update", gt=0)
    galore_proj_type: Literal["std", "reverse_std", "right", "left"] = field(
        "std", "side of a matrix that is projected: the shorter (std), the longer (reverse_std), right or left"
    )
    galore_quantization: bool = field(
        False, "Q-GaLore: the gap of a matrix grows while its projection hardly changes (arXiv 2407.08296)"
    )
    galore_queue_size: int = field(5, "new projections that are compared with the ones before them", gt=0)
    galore_cos_threshold: float = field(
        0.4, "the gap grows where the mean cosine of their first directions is at least this", ge=0, le=1
    )
    galore_gamma_proj: float = field(2, "factor by which the gap grows", ge=1)
    galore_proj_quant: bool = field(False, "keep projections quantized, a byte for each number")
    galore_proj_bits: int = field(4, "bits of a number of a quantized projection", ge=1, le=8)
    galore_proj_group_size: int = field(256, "numbers of a projection that share a scale", gt=0)
