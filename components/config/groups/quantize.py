"""Which smaller variants of the model are made. Read by the stage `quantize`."""

from components.config.fields import Group, Names, field


class Quantize(Group):
    """Each variant is a candidate like any other: evaluated, and gated against the model it was made from."""

    variants: Names = field([], "quantized variants to make: bnb-int8, bnb-nf4")
