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
