"""Fine-tune a model on chats: fetch, validate, template and train in one process,
into --output_dir.

  martlet sft --model models/base --dataset examples/skills.jsonl \\
    'examples/sounds.jsonl#100' --learning_rate 4e-3 --max_steps 20 \\
    --save_steps 10 --output_dir output/first --add_version false

Hub ids work like folders: --model Qwen/Qwen2.5-7B-Instruct, --dataset
'AI-ModelScope/alpaca-gpt4-data-en#500'. No workspace is needed. Flags win over
--config FILE (a recipe), which wins over the defaults. A parameter can also be
written key=value: lora_rank=16 is --lora_rank 16.
"""

import argparse
from typing import Any

from apps.cli import training
from apps.cli.training import add_arguments
from tasks.direct import PARAMETERS

__all__ = ["PARAMETERS", "add_arguments", "run"]


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    training.run(arguments, flags)
