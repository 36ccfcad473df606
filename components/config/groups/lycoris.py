"""Parameters of LoHa and LoKr. Read by the stage `train`."""

from pydantic import field_validator

from components.config.fields import Group, field


class Lycoris(Group):
    """Matrices from LyCORIS beside frozen layers (--tuner_type loha or lokr)."""

    lycoris_rank: int = field(8, "rank of the factors", gt=0)
    lycoris_alpha: float = field(8, "scaling: the update is multiplied by alpha / rank", gt=0)
    lycoris_dropout: float = field(0.0, "share of a layer's rank that a training step leaves out", ge=0.0, lt=1.0)
    lokr_factor: int = field(-1, "size of LoKr's smaller factor; -1 is the most even division", ge=-1)

    @field_validator("lokr_factor")
    @classmethod
    def _refuse_zero(cls, factor: int) -> int:
        if factor == 0:
            raise ValueError("must be -1, or the size of a factor: 1 or more")
        return factor
