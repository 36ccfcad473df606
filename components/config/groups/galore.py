"""The optimizer GaLore. Read by the stage `train`."""

from typing import Literal

from components.config.fields import Group, Names, field


class Galore(Group):
    """GaLore: AdamW on gradients that are projected to a low rank (--optimizer galore)."""

    galore_target_modules: Names = field(
        ["all-linear"], "layers whose gradients are projected: names, or all-linear; the others learn by AdamW"
    )
    galore_rank: int = field(128, "rank that gradients are projected to", gt=0)
    galore_update_proj_gap: int = field(50, "steps between two projections", gt=0)
    galore_scale: float = field(1.0, "factor of the projected update", gt=0)
    galore_proj_type: Literal["std", "reverse_std", "right", "left"] = field(
        "std", "side that is projected: the shorter one, the longer one, or always the same"
    )
