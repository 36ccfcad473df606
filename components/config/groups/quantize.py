"""The quantized variants of the merged model. Read by the stage `quantize`."""

from components.config.fields import Group, Names, field


class Quantize(Group):
    """Each variant is a candidate: evaluated, and judged against the merged model."""

    variants: Names = field([], "quantized variants to make: bnb-int8, bnb-nf4")
