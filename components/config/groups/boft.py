"""Parameters of BOFT. Read by the stage `train`."""

from components.config.fields import Group, field


class Boft(Group):
    """BOFT: rotations of weights as butterfly products of small blocks (--tuner_type boft)."""

    boft_block_size: int = field(4, "size of a block; it divides the input size of every target layer", ge=0)
    boft_block_num: int = field(0, "blocks of a layer, in place of their size", ge=0)
    boft_dropout: float = field(0.0, "share of blocks that a training step leaves as they are", ge=0.0, lt=1.0)
