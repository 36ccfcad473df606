"""AWQ, 4-bit weights scaled by how large the activations are (Lin et al. 2023, arXiv 2306.00978), by AutoAWQ, in the
format GEMM. AutoAWQ knows the architectures of its time: Llama, Mistral, Mixtral, Qwen2, Qwen3, Gemma 2, Phi-3 and
others."""

from pathlib import Path

from components.config.groups.quantize import Quantize
from components.export.quantizers._side_environment import quantize_in

TENSOR = ".qweight"
ENVIRONMENT = "awq"
STORED = "awq"
CALIBRATES = True
OUTPUTS = 64


def quantize(source: Path, folder: Path, rows: list[list[int]], settings: Quantize) -> None:
    """Write the 4-bit model of `source` into `folder`."""
    quantize_in(ENVIRONMENT, "_awq_worker.py", source, folder, rows, settings)
