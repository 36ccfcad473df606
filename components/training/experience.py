"""What a policy learns from in an optimizer step: sampled answers, their advantages, and the log probabilities of their
tokens when they were sampled."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from components.tokens import IGNORED, TokenRow
from components.training.answer_batch import AnswerBatch
from components.training.media import own_media
from components.training.rollouts import Sampled

Batch = dict[str, torch.Tensor]
Figures = dict[str, torch.Tensor]


def batches(
    collate: Any, rows: Sequence[TokenRow], answers: Sequence[Sampled], is_learned: Sequence[bool], sizes: Sequence[int]
) -> list[Batch]:
    """Return the tensors of forward passes over `sizes` answers each: those of `AnswerBatch`, and as `sampled`
    the log probabilities by which another program drew the learned tokens."""
    batch = AnswerBatch(collate, ("completion",))
    lines = [_line(*parts) for parts in zip(rows, answers, is_learned, strict=True)]
    starts = np.cumsum([0, *sizes]).tolist()
    parts = [batch(lines[start:end]) for start, end in pairwise(starts)]
    for part, (start, end) in zip(parts, pairwise(starts), strict=True):
        learned = [answer for n, answer in enumerate(answers[start:end], start) if is_learned[n]]
        if any(answer.log_probs for answer in learned):
            part["sampled"] = torch.tensor([value for answer in learned for value in answer.log_probs or []])
    return parts


def _line(row: TokenRow, answer: Sampled, is_learned: bool) -> TokenRow:
    ids = np.asarray(answer.ids)
    labels = np.where(np.asarray(answer.is_generated) & is_learned, ids, IGNORED)
    return {"prompt_ids": row["prompt_ids"], "completion_ids": ids, "completion_labels": labels, **own_media(row)}


def write(file: Path, experience: list[Batch], figures: Figures) -> None:
    """Write batches and the figures of their answers into a file, with which a run that stops between two steps on the
    same answers goes on."""
    parts = [*experience, figures]
    save_file(
        {f"{n}.{name}": tensor.contiguous() for n, part in enumerate(parts) for name, tensor in part.items()}, file
    )


def read(file: Path) -> tuple[list[Batch], Figures]:
    """Return the batches in a file, and the figures of their answers."""
    parts: dict[int, dict[str, torch.Tensor]] = {}
    for key, tensor in load_file(file).items():
        number, _, name = key.partition(".")
        parts.setdefault(int(number), {})[name] = tensor
    *experience, figures = (parts[number] for number in sorted(parts))
    return experience, figures
