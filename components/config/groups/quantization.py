"""Parameters of a quantized base model. Read by the stages `train` and `merge`, and by `export`."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from components.config.fields import Group, field


def _as_number(value: Any) -> Any:
    """Return the number in the text of a flag."""
    return int(value) if isinstance(value, str) and value.isdigit() else value


class Quantization(Group):
    """Quantized weights: a base that is quantized while it is loaded (QLoRA), or the folder that `export` writes."""

    quant_method: str | None = field(
        None, "bnb, hqq, quanto, torchao, eetq, or the name of a plugin; in export, also of a quantizer"
    )
    quant_bits: Annotated[Literal[1, 2, 3, 4, 8], BeforeValidator(_as_number)] = field(4, "bits of a quantized weight")
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = field("nf4", "number format of 4-bit weights")
    bnb_4bit_compute_dtype: Literal["float32", "bfloat16", "float16"] | None = field(
        None, "precision of computations on 4-bit weights; by default as --torch_dtype"
    )
    bnb_4bit_use_double_quant: bool = field(True, "quantize the scales of 4-bit weights too")
    hqq_axis: Annotated[Literal[0, 1], BeforeValidator(_as_number)] = field(
        1, "dimension along which HQQ groups weights: 1, along the inputs; 0, along the outputs"
    )
    hqq_group_size: int = field(64, "weights that share one of HQQ's scales; a multiple of 8", ge=8, multiple_of=8)
