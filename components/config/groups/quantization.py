"""In which precision a model's weights lie. Read by the stages `train` and `merge`, and by `export`."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from components.config.fields import Group, field


def _as_number(value: Any) -> Any:
    """Return the number that a flag's text writes."""
    return int(value) if isinstance(value, str) and value.isdigit() else value


class Quantization(Group):
    """A base that is quantized while it is loaded (QLoRA); its folder stays as it is."""

    quant_method: str | None = field(None, "quantize the weights by this method: bnb, or a plugin's name")
    quant_bits: Annotated[Literal[4, 8], BeforeValidator(_as_number)] = field(4, "bits of a quantized weight")
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = field("nf4", "number format of bitsandbytes' four bits")
    bnb_4bit_compute_dtype: Literal["float32", "bfloat16", "float16"] | None = field(
        None, "precision that bitsandbytes computes in; by default as --torch_dtype"
    )
    bnb_4bit_use_double_quant: bool = field(True, "quantize bitsandbytes' scales once more")
