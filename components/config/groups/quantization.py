"""In which precision a model's weights lie. Read by the stages `train` and `merge`, and by `export`."""

from typing import Literal

from components.config.fields import Group, field


class Quantization(Group):
    """A base that is quantized while it is loaded (QLoRA); its folder stays as it is."""

    quant_method: str | None = field(None, "quantize the weights by this method: bnb, or a plugin's name")
    quant_bits: Literal[4, 8] = field(4, "bits of a quantized weight")
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = field("nf4", "number format of bitsandbytes' four bits")
    bnb_4bit_compute_dtype: Literal["float32", "bfloat16", "float16"] | None = field(
        None, "precision that bitsandbytes computes in; by default as --torch_dtype"
    )
    bnb_4bit_use_double_quant: bool = field(True, "quantize bitsandbytes' scales once more")
