"""Parameters of a quantized base model. Read by the stages `train` and `merge`, and by `export`."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from components.config.fields import Group, field


def _as_number(value: Any) -> Any:
    """Return the number in the text of a flag."""
    return int(value) if isinstance(value, str) and value.isdigit() else value


class Quantization(Group):
    """A base model that is quantized when it is loaded (QLoRA); the files of the model do not change."""

    quant_method: str | None = field(None, "quantization method: bnb, or a plugin's name")
    quant_bits: Annotated[Literal[4, 8], BeforeValidator(_as_number)] = field(4, "bits of a quantized weight")
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = field("nf4", "number format of 4-bit weights")
    bnb_4bit_compute_dtype: Literal["float32", "bfloat16", "float16"] | None = field(
        None, "precision of computations on 4-bit weights; by default as --torch_dtype"
    )
    bnb_4bit_use_double_quant: bool = field(True, "quantize the scales of 4-bit weights too")
