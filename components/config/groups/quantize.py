"""The quantized variants of the merged model. Read by the stage `quantize`."""

from components.config.fields import Group, Methods, field


class Quantize(Group):
    """Each variant is a candidate: evaluated, and judged against the merged model."""

    variants: Methods = field([], "quantized variants to make: bnb-int8, bnb-nf4")
