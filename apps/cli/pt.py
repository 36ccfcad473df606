"""Continue the pre-training of a model on plain text; every token is learned. The flags are those of `martlet sft`.

  martlet pt --model Qwen/Qwen3-0.6B-Base --tuner_type full --dataset 'texts/*.jsonl' --packing true --max_length 4096

Rows with `text` are learned as they are, conversations as their texts one after the other.
"""

import argparse
from typing import Any

from apps.cli import training
from apps.cli.training import add_arguments
from tasks.direct import PARAMETERS

__all__ = ["PARAMETERS", "add_arguments", "run"]


def run(arguments: argparse.Namespace, given: dict[str, Any]) -> None:
    training.run(arguments.config, given, method="pt")
