"""The quantized variants of the merged model. Read by the stage `quantize`, and by `export`."""

from components.config.fields import Group, Methods, field


class Quantize(Group):
    """Each variant is a candidate: evaluated, and judged against the merged model."""

    variants: Methods = field([], "quantized variants to make: bnb-int8, bnb-nf4")
    min_agreement: float = field(
        0.5,
        "share of the tokens of its parent's greedy answers that a quantized model must choose too, to be kept",
        ge=0.0,
        le=1.0,
    )
