"""Merge an adapter into its base, or quantize a model, into a folder of its own.

martlet export --adapters output/v0-…/checkpoint-100 --merge_lora true
martlet export --model models/merged --quant_method bnb --quant_bits 8 --output_dir models/int8
"""

import argparse
from pathlib import Path
from typing import Any

from components.errors import ConfigError
from tasks import target

PARAMETERS = ("run.adapters", "run.merge_lora", "model", "data.use_hf", "merge")
VARIANTS = {("bnb", 8): "bnb-int8", ("bnb", 4): "bnb-nf4"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quant_method", choices=sorted({method for method, _ in VARIANTS}), help="quantize with this")
    parser.add_argument("--quant_bits", type=int, choices=sorted({bits for _, bits in VARIANTS}), default=4)
    parser.add_argument("--output_dir", type=Path, help="the new folder; by default beside the old one")


def run(arguments: argparse.Namespace, given: dict[str, Any]) -> None:
    if not arguments.quant_method and "merge_lora" not in given:
        raise ConfigError("export what? --merge_lora true merges an adapter, --quant_method bnb quantizes a model")
    model = target.merged(target.find(given), print)
    if arguments.quant_method:
        if model.adapter:
            raise ConfigError("an adapter is not quantized by itself: add --merge_lora true")
        variant = VARIANTS[arguments.quant_method, arguments.quant_bits]
        folder, report = target.quantized(model.model, variant, arguments.output_dir)
        print(f"{variant} in {folder}: {report['bytes_before']:,} bytes became {report['bytes_after']:,}")
