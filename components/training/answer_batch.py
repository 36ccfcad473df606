"""Answers behind their prompts: the batches of methods that compare or judge whole answers, and their log
probabilities."""

from typing import Any, NamedTuple

import numpy as np
import torch

from components.tokens import IGNORED, TokenRow
from components.training.cross_entropy import cross_entropy
from components.training.forward import learned_logits, of_model
from components.training.media import own_media


class AnswerBatch:
    """The tensors of rows with a prompt and several answers each: a prompt and an answer are a row of `collate`, which
    `isolation.collator` returns. `owners` numbers the answers: row by row, in the order of `names`.

    Beside what a model takes there are `token_labels`, `owners`, both per token; `labels` [rows, 2], of which the
    second is `IGNORED` for a row in which nothing is learned; and the values [rows, …] of what else a row has under a
    name in `beside`.
    """

    def __init__(self, collate: Any, names: tuple[str, ...], beside: tuple[str, ...] = ()) -> None:
        self.collate, self.names, self.beside = collate, names, beside

    def __call__(self, rows: list[TokenRow]) -> dict[str, torch.Tensor]:
        lines = [_line(row, name) for row in rows for name in self.names]
        for number, line in enumerate(lines):
            line["owners"] = np.full(len(line["input_ids"]), number)
        batch = self.collate(lines)
        batch["token_labels"] = batch.pop("labels")
        is_learned = [all((line["labels"] != IGNORED).any() for line in group) for group in _groups(lines, self.names)]
        # transformers counts what is learned, without the first column.
        batch["labels"] = torch.tensor([[IGNORED, 1 if learned else IGNORED] for learned in is_learned])
        for name in self.beside:
            batch[name] = torch.from_numpy(np.stack([np.asarray(row[name]) for row in rows]))
        return batch


def _groups(lines: list[TokenRow], names: tuple[str, ...]) -> list[list[TokenRow]]:
    return [lines[start : start + len(names)] for start in range(0, len(lines), len(names))]


def _line(row: TokenRow, name: str) -> TokenRow:
    prompt, answer = row["prompt_ids"], row[f"{name}_ids"]
    labels = np.concatenate([np.full(len(prompt), IGNORED), row[f"{name}_labels"]])
    return {"input_ids": np.concatenate([prompt, answer]), "labels": labels, **own_media(row)}


class AnswerLogProbs(NamedTuple):
    """Log probabilities of the answers of a batch, in nats, each [rows, answers of a row].

    Attributes:
        sums: over all learned tokens of an answer.
        tails: over those by which an answer is longer than the shortest one of its row.
        counts: how many tokens are learned.
    """

    sums: torch.Tensor
    tails: torch.Tensor
    counts: torch.Tensor


def answer_log_probs(model: Any, inputs: dict[str, Any], answers: int) -> tuple[AnswerLogProbs, Any]:
    """Return the log probabilities of the answers of a batch of `AnswerBatch`, and the model's outputs."""
    logits, tokens, outputs = learned_logits(model, {**of_model(inputs), "labels": inputs["token_labels"]})
    values, owners = -cross_entropy(logits, tokens["labels"]), tokens["owners"]
    size = len(inputs["labels"]) * answers
    counts = torch.bincount(owners, minlength=size)
    place = torch.arange(len(owners), device=owners.device) - (counts.cumsum(0) - counts)[owners]
    shortest = counts.view(-1, answers).amin(1).repeat_interleave(answers)
    is_tail = place >= shortest[owners]
    zeros = values.new_zeros(size)
    sums = zeros.index_add(0, owners, values), zeros.index_add(0, owners, values * is_tail)
    return AnswerLogProbs(*(part.view(-1, answers) for part in (*sums, counts))), outputs
