"""Texts and their classes: the loss of each text, and how many predictions are right."""

from typing import Any

import torch
from torch.nn import functional

from components.classes import REGRESSION, SINGLE, Classes
from components.tokens import IGNORED, TokenRow
from components.training import ranks
from components.training.forward import of_model
from components.training.isolation import padded
from components.training.job import Job
from components.training.methods._row_trainer import RowTrainer


class ClassTrainer(RowTrainer):
    """A loss for each text, or for each class of each text where a text may have several."""

    def __init__(self, job: Job) -> None:
        self.classes = Classes(**job.arguments["classes"])
        super().__init__(job, ClassBatch(padded(job), self.classes))
        self.counts = torch.zeros(2 + 2 * len(self.classes.names), dtype=torch.float64)
        """What `_counts` returns, of all batches since the last evaluation."""

    def summed_loss(self, model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, Any]:
        """Return the sum of the losses of a batch: cross entropy, binary cross entropy or squared error, as
        transformers' `ForSequenceClassificationLoss` chooses them, and the model's outputs."""
        inputs = dict(inputs)
        labels = inputs.pop("labels")
        outputs = model(**of_model(inputs), use_cache=False)
        logits, kind = outputs["logits"].float(), self.classes.problem_type
        if not model.training:
            real = (labels != IGNORED).view(len(labels), -1).any(1)  # without blank rows
            self.counts += _counts(logits.detach()[real].cpu(), labels[real].cpu(), kind)
        if kind == SINGLE:
            return functional.cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum"), outputs
        has_label = labels != IGNORED
        loss = functional.mse_loss if kind == REGRESSION else functional.binary_cross_entropy_with_logits
        return loss(logits[has_label], labels[has_label], reduction="sum"), outputs

    def figures(self, rows: list[TokenRow]) -> dict[str, float]:  # noqa: ARG002
        """Return `eval_acc`, the share of texts with the right classes, and `eval_f1`, the mean of F1 over the
        classes; of a regression `eval_mae`, the mean absolute error."""
        right, texts, *of_classes = ranks.total(self.counts.tolist())
        self.counts.zero_()
        if self.classes.problem_type == REGRESSION:
            return {"eval_mae": right / texts}
        pairs = zip(of_classes[::2], of_classes[1::2], strict=True)
        scores = [2 * hits / size for hits, size in pairs if size]
        return {"eval_acc": right / texts, "eval_f1": sum(scores) / max(len(scores), 1)}


def _counts(logits: torch.Tensor, labels: torch.Tensor, kind: str) -> torch.Tensor:
    """Return the number of right texts, or of a regression the sum of the absolute errors; the number of texts; and for
    each class its true positives, then its predictions and its texts together: F1 is twice the one by the other."""
    if kind == REGRESSION:
        return torch.tensor([(logits - labels).abs().sum(), len(labels), 0, 0])
    predictions, truth = (logits > 0).long(), labels.long()
    if kind == SINGLE:
        predictions, truth = (functional.one_hot(n, logits.shape[1]) for n in (logits.argmax(-1), labels))
    of_classes = torch.stack([(predictions * truth).sum(0), predictions.sum(0) + truth.sum(0)], 1)
    return torch.cat([torch.tensor([(predictions == truth).all(1).sum(), len(labels)]), of_classes.flatten()])


class ClassBatch:
    """The tensors of texts and their classes: those of `collate`, and `labels`, a number for each text, or
    [texts, classes] in float32. A row without a class is not learned."""

    def __init__(self, collate: Any, classes: Classes) -> None:
        self.collate, self.classes = collate, classes

    def __call__(self, rows: list[TokenRow]) -> dict[str, torch.Tensor]:
        size = len(self.classes.names)
        nothing = IGNORED if self.classes.problem_type == SINGLE else [float(IGNORED)] * size
        targets = [self.classes.target(row["target"]) if "target" in row else nothing for row in rows]
        lines = [{name: row[name] for name in ("input_ids", "media") if name in row} for row in rows]
        return {**self.collate(lines), "labels": torch.tensor(targets)}
