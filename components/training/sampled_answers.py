"""What a run tells of sampled answers: their figures, some of them as texts, and what failed on them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from components.config.groups.rollout import Rollout
from components.tokens import TokenRow
from components.training import ranks
from components.training.rollouts import Judgement, Sampled

SHOWN = 4
"""Answers of a step that are shown as texts."""


def figures_of(answers: Sequence[Sampled], judgement: Judgement, settings: Rollout) -> dict[str, torch.Tensor]:
    """Return the figures of sampled answers by name, the values of each [answers]. All processes call this together."""
    figures = {
        "reward": torch.tensor(judgement.totals),
        "reward_std": torch.tensor([np.std(ranks.gathered(list(judgement.totals)))]),
        "completions/mean_length": torch.tensor([float(answer.length) for answer in answers]),
        "completions/clipped_ratio": torch.tensor([float(answer.is_truncated) for answer in answers]),
    }
    if settings.multi_turn_scheduler:
        figures["num_turns"] = torch.tensor([float(answer.turns) for answer in answers])
    for name, of_answers in judgement.values.items():
        figures[f"rewards/{name}/mean"] = torch.tensor([value for value in of_answers if value is not None])
    return figures


def rollouts_shown(
    tokenizer: Any,
    rows: Sequence[TokenRow],
    answers: Sequence[Sampled],
    judgement: Judgement,
    advantages: Sequence[float] | np.ndarray,
) -> list[dict[str, Any]]:
    """Return the first answers as texts, with rewards and advantages; of several turns the whole conversation, with
    the template's marks."""
    return [
        {
            "prompt": tokenizer.decode(rows[n]["prompt_ids"]),
            "completion": answers[n].text if answers[n].turns == 1 else tokenizer.decode(answers[n].ids),
            "rewards": {name: of_answers[n] for name, of_answers in judgement.values.items()},
            "reward": judgement.totals[n],
            "advantage": round(float(advantages[n]), 4),
        }
        for n in range(min(SHOWN, len(rows)))
    ]


def failures(answers: Sequence[Sampled], judgement: Judgement, settings: Rollout) -> str:
    """Return on how many answers which reward or scheduler failed; nothing where none did."""
    counts = judgement.errors | {settings.multi_turn_scheduler: sum(answer.has_failed for answer in answers)}
    return ", ".join(f"{name} on {count}" for name, count in counts.items() if count)
