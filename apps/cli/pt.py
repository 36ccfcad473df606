"""Continue the pre-training of a model on plain text; every token is learned. The
flags are those of `martlet sft`.

  martlet pt --model models/base --tuner_type full --packing true \\
    --dataset 'examples/s*.jsonl' --max_length 512 --max_steps 5

The text of a row with `text` is learned as it is; of a conversation, the texts
of its messages one after the other.
"""

import argparse
from typing import Any

from apps.cli import training
from apps.cli.training import add_arguments
from tasks.direct import PARAMETERS

__all__ = ["PARAMETERS", "add_arguments", "run"]


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    training.run(arguments, flags, method="pt")
