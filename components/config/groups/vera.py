"""Parameters of VeRA. Read by the stage `train`."""

from components.config.fields import Group, field


class Vera(Group):
    """VeRA: learned vectors around two random matrices that all layers share (--tuner_type vera)."""

    vera_rank: int = field(256, "rank of the shared random matrices", gt=0)
    vera_projection_prng_key: int = field(0, "seed of the shared random matrices", ge=0)
    vera_dropout: float = field(0.0, "dropout on the input of VeRA", ge=0.0, lt=1.0)
    vera_d_initial: float = field(0.1, "first value of the vector on the rank", gt=0)
