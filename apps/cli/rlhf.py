"""Align a model with preferences (--rlhf_type dpo, cpo, simpo, orpo, kto, rm), with
rewards (grpo, rloo, ppo) or with a teacher (gkd). The flags are those of `martlet sft`.

  martlet rlhf --rlhf_type dpo --model models/base \\
    --dataset examples/preferences.jsonl --max_steps 5

dpo, cpo, simpo, orpo and rm learn from rows with prompt, chosen and rejected; kto
from rows with prompt, completion and label; grpo, rloo and ppo from prompts, by what
--reward_funcs gives for the model's own answers; gkd from chats, by what
--teacher_model finds likely.
"""

import argparse
from typing import Any

from apps.cli import training
from apps.cli.training import add_arguments
from tasks.direct import PARAMETERS

__all__ = ["PARAMETERS", "add_arguments", "run"]


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    training.run(arguments, flags, rlhf_type="dpo")
