"""Parameters of a quantized base model. Read by the stages `train` and `merge`, and by `export`."""

from typing import Literal

from components.config.fields import Group, field


class Quantization(Group):
    """A base model that is quantized when it is loaded (QLoRA); the files of the model do not change."""

    quant_method: str | None = field(None, "quantization method: bnb, or a plugin's name")
    quant_bits: Literal[4, 8] = field(4, "bits of a quantized weight")
    bnb_4bit_quant_type: Literal["nf4", "fp4"] = field("nf4", "number format of 4-bit weights")
    bnb_4bit_compute_dtype: Literal["float32", "bfloat16", "float16"] | None = field(
        None, "precision of computations on 4-bit weights; by default as --torch_dtype"
    )
    bnb_4bit_use_double_quant: bool = field(True, "quantize the scales of 4-bit weights too")
