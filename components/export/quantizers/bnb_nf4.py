"""NF4: 4-bit weights on the quantiles of a normal distribution (Dettmers et al. 2023, arXiv 2305.14314)."""

from pathlib import Path

from components.config.groups.quantize import Quantize
from components.export.quantizers._bitsandbytes import save_quantized

TENSOR = ".quant_state.bitsandbytes__nf4"


def quantize(source: Path, folder: Path, rows: list[list[int]], settings: Quantize) -> None:  # noqa: ARG001
    """Write the 4-bit model of `source`, with doubly quantized scales, into `folder`."""
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
    save_quantized(source, folder, config)
