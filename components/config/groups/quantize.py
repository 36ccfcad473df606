"""The quantized variants of the merged model. Read by the stage `quantize`, and by `export`."""

from typing import Annotated

from pydantic import AfterValidator

from components.config.fields import Group, Methods, field


def _require_group(size: int) -> int:
    if size != -1 and (size < 8 or size % 8):
        raise ValueError(f"must be a multiple of 8, or -1 for one group an output, not {size}")
    return size


class Quantize(Group):
    """Each variant is a candidate: evaluated, and judged against the merged model."""

    variants: Methods = field(
        [], "quantized variants to make: bnb-int8, bnb-nf4, gptq-int4, gptq-int8, awq-int4, fp8, or of a plugin"
    )
    group_size: Annotated[int, AfterValidator(_require_group)] = field(
        128, "weights of GPTQ and AWQ that share a scale: a multiple of 8 that divides the inputs of every layer, or -1"
    )
    quant_n_samples: int = field(256, "most rows that GPTQ and AWQ calibrate on", gt=0)
    quant_batch_size: int = field(1, "rows that calibration reads together", gt=0)
    min_agreement: float = field(
        0.5,
        "share of the tokens of its parent's greedy answers that a quantized model must choose too, to be kept",
        ge=0.0,
        le=1.0,
    )
