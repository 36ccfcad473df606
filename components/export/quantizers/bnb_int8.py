"""LLM.int8(): vector-wise 8-bit weights with outliers in full precision (Dettmers et al. 2022, arXiv 2208.07339)."""

from pathlib import Path

from components.config.groups.quantize import Quantize
from components.export.quantizers._bitsandbytes import save_quantized

TENSOR = ".SCB"


def quantize(source: Path, folder: Path, rows: list[list[int]], settings: Quantize) -> None:  # noqa: ARG001
    """Write the 8-bit model of `source` into `folder`."""
    from transformers import BitsAndBytesConfig

    save_quantized(source, folder, BitsAndBytesConfig(load_in_8bit=True))
