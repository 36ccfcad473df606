"""Parameters of OFT. Read by the stage `train`."""

from components.config.fields import Group, field


class Oft(Group):
    """OFT: rotations of weights in blocks (--tuner_type oft)."""

    oft_block_size: int = field(32, "size of a block; it divides the input size of every target layer", gt=0)
    oft_coft: bool = field(False, "keep the rotation within oft_eps of none (constrained OFT)")
    oft_eps: float = field(6e-5, "bound of the rotation with oft_coft", gt=0)
