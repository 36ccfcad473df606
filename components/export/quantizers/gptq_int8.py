"""GPTQ, 8-bit weights rounded with second-order information (Frantar et al. 2022, arXiv 2210.17323), by llm-compressor,
in the format compressed-tensors (W8A16), which transformers and vLLM read."""

from pathlib import Path

from components.config.groups.quantize import Quantize
from components.export.quantizers._side_environment import quantize_in

TENSOR = ".weight_packed"
ENVIRONMENT = "llmcompressor"
STORED = "compressed-tensors"
CALIBRATES = True


def quantize(source: Path, folder: Path, rows: list[list[int]], settings: Quantize) -> None:
    """Write the 8-bit model of `source` into `folder`."""
    quantize_in(ENVIRONMENT, "_llmcompressor_worker.py", source, folder, rows, settings, method="gptq", bits=8)
