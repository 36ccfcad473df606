"""Merge an adapter into its base, or quantize a model; the result is a new folder.

martlet export --adapters output/v0-…/checkpoint-100 --merge_lora true
martlet export --model models/merged --quant_method bnb --quant_bits 8 --output_dir models/int8
"""

import argparse
from pathlib import Path
from typing import Any

from components.config import read_flags, resolve
from components.errors import ConfigError
from tasks import target

PARAMETERS = (
    "run.adapters", "run.merge_lora", "model", "data.use_hf", "merge", "plugins",
    "quantization.quant_method", "quantization.quant_bits", "run.output_dir",
)  # fmt: skip
VARIANTS: dict[tuple[str | None, int], str] = {("bnb", 8): "bnb-int8", ("bnb", 4): "bnb-nf4"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    quantization = resolve(read_flags(flags)).quantization
    variant = VARIANTS.get((quantization.quant_method, quantization.quant_bits))
    if not quantization.quant_method and "merge_lora" not in flags:
        raise ConfigError("export what? --merge_lora true merges an adapter, --quant_method bnb quantizes a model")
    if quantization.quant_method and not variant:
        raise ConfigError(f"--quant_method {quantization.quant_method}: export quantizes with bnb")
    model = target.merged(target.find(flags), print)
    if variant:
        if model.adapter:
            raise ConfigError("--quant_method: merge the adapter into the model first, with --merge_lora true")
        output = Path(flags["output_dir"]) if "output_dir" in flags else None
        folder, report = target.quantized(model.model, variant, output)
        print(f"{variant} in {folder}: {report['bytes_before']:,} bytes became {report['bytes_after']:,}")
