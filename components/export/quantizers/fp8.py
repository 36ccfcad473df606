"""FP8 (E4M3): weights with a scale for each output, activations with one for each token, by llm-compressor, in the
format compressed-tensors (FP8_DYNAMIC). vLLM computes in it on GPUs from Ada and Hopper on; transformers unpacks the
weights."""

from pathlib import Path

from components.config.groups.quantize import Quantize
from components.export.quantizers._side_environment import quantize_in

TENSOR = ".weight_scale"
ENVIRONMENT = "llmcompressor"
STORED = "compressed-tensors"


def quantize(source: Path, folder: Path, rows: list[list[int]], settings: Quantize) -> None:
    """Write the 8-bit model of `source` into `folder`."""
    quantize_in(ENVIRONMENT, "_llmcompressor_worker.py", source, folder, rows, settings, method="fp8")
