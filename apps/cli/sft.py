"""Fine-tune a model on chats: fetch, validate, template and train in one process, into --output_dir.

  martlet sft --model Qwen/Qwen2.5-7B-Instruct --tuner_type lora \\
    --dataset my.jsonl 'AI-ModelScope/alpaca-gpt4-data-en#500' --learning_rate 1e-4 --lora_rank 8

No workspace is needed. Flags win over --config FILE (a recipe), which wins over the defaults.
"""

import argparse
from typing import Any

from apps.cli import training
from apps.cli.training import add_arguments
from tasks.direct import PARAMETERS

__all__ = ["PARAMETERS", "add_arguments", "run"]


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    training.run(arguments.config, flags)
