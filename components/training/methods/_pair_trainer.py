"""Texts that belong together: the loss of each row of texts, and how well the vectors find the right text."""

from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from components.errors import ConfigError
from components.tokens import IGNORED, TokenRow
from components.training import ranks
from components.training.collators import Padded
from components.training.job import Job
from components.training.methods._row_trainer import RowTrainer
from components.training.mixture import one_loss
from components.training.pair_losses import Pairs

EQUAL = 1e-5
"""Difference of similarities below which they are the same: that of one text in batches of other lengths."""


class PairTrainer(RowTrainer):
    """A loss for each row of an anchor, the text that belongs to it, and texts that do not."""

    def __init__(self, job: Job) -> None:
        self.method, name = one_loss(job.params, job.external)
        if name == "infonce":
            _require_contrast(job)
        self.evaluated: list[list[Any]] = []
        """Of each row since the last evaluation: the vectors of anchor and positive, and the score."""
        super().__init__(job, TextBatch(job.pad_token_id))

    def blank_row(self) -> TokenRow:
        """Return a row of which nothing is learned, and with which no row is compared."""
        text, nothing = np.full(1, self.job.pad_token_id), np.zeros(0, np.int64)
        texts = {"anchor_ids": text, "positive_ids": text, "negative_ids": nothing, "negative_lengths": nothing}
        return {**texts, "score": IGNORED}

    @property
    def rows_per_evaluation(self) -> int:
        """Rows in a forward pass of an evaluation, which are compared with each other: as many as in training."""
        return max(self.job.train.per_device_eval_batch_size, self.job.train.per_device_train_batch_size)

    def summed_loss(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """Return the sum of the losses of a batch, and the model's outputs."""
        inputs = dict(inputs)
        scores, owners = inputs.pop("labels"), inputs.pop("owners")
        outputs = model(**inputs, use_cache=False)
        vectors, rows = pooled(outputs["last_hidden_state"], inputs["attention_mask"]), len(scores)
        real = scores != IGNORED  # without blank rows, which come last
        if not real.any():
            return 0 * vectors.sum(), outputs
        anchors, positives = vectors[:rows][real], vectors[rows : 2 * rows][real]
        pairs = Pairs(anchors, positives, vectors[2 * rows :], owners, scores[real])
        if not model.training:
            parts = zip(pairs.anchors.tolist(), pairs.positives.tolist(), scores.tolist(), strict=True)
            self.evaluated += map(list, parts)
        return self.method.loss(pairs, self.job.params), outputs

    def figures(self, rows: list[TokenRow]) -> dict[str, float]:  # noqa: ARG002
        """Return `eval_recall_at_1`, the share of anchors that are nearer to their own text than to any other positive
        of the validation rows; where rows have scores, `eval_spearman`, the rank correlation of similarity and
        score."""
        evaluated, self.evaluated = ranks.gathered(self.evaluated), []
        anchors, positives, scores = (torch.tensor(column) for column in zip(*evaluated, strict=True))
        if bool((scores == 1).all()):
            similarities = anchors @ positives.T
            own = similarities.diagonal()[:, None]
            return {"eval_recall_at_1": float((similarities <= own + EQUAL).all(1).double().mean())}
        if len(scores.unique()) == 1:  # nothing to rank
            return {"eval_spearman": 0.0}
        from scipy.stats import spearmanr

        correlation: Any = spearmanr((anchors * positives).sum(-1), scores)
        return {"eval_spearman": float(correlation.statistic)}


def _require_contrast(job: Job) -> None:
    """Raise ConfigError if InfoNCE cannot learn from the rows: they have scores, or nothing to compare a text with."""
    for rows in filter(None, (job.rows, job.val_rows)):
        if any(score not in (None, 1) for score in rows.scores()):
            raise ConfigError(
                "loss_type: infonce takes every pair as alike, and rows have a score or a label; use cosine_similarity"
            )
    if job.rows.negatives():
        return
    start = "loss_type: infonce compares a text with others, and the rows have no negatives; "
    if not job.params.embedding.infonce_use_batch:
        raise ConfigError(f"{start}leave --infonce_use_batch false out")
    if min(len(job.rows), job.train.per_device_train_batch_size) == 1:
        raise ConfigError(f"{start}a batch of one row has none either; add --per_device_train_batch_size 16")


def pooled(hidden: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Return the hidden state of the last token of each text, made to length 1, in float32 [texts, width]."""
    last = attention_mask.cumsum(1).argmax(1)
    return functional.normalize(hidden[torch.arange(len(hidden), device=hidden.device), last].float(), dim=-1)


class TextBatch:
    """The tensors of rows of texts: `input_ids` and `attention_mask` [texts, longest] of all anchors, then all
    positives, then all negatives; `labels`, the score of each row; `owners`, the row of each negative."""

    def __init__(self, pad_token_id: int) -> None:
        self.padded = Padded(pad_token_id)

    def __call__(self, rows: list[TokenRow]) -> dict[str, torch.Tensor]:
        negatives = [_negatives(row) for row in rows]
        firsts = [row[name] for name in ("anchor_ids", "positive_ids") for row in rows]
        texts = [*firsts, *(ids for of_row in negatives for ids in of_row)]
        scores = [1.0 if row["score"] is None else float(row["score"]) for row in rows]
        owners = [number for number, of_row in enumerate(negatives) for _ in of_row]
        return {
            **self.padded([{"input_ids": ids} for ids in texts]),
            "labels": torch.tensor(scores),
            "owners": torch.tensor(owners, dtype=torch.long),
        }


def _negatives(row: TokenRow) -> list[Any]:
    """Return the ids of each negative of a row, which lie one after the other."""
    ends = accumulate(row["negative_lengths"], initial=0)
    return [row["negative_ids"][start:end] for start, end in pairwise(ends)]
