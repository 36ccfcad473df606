"""Log probabilities of answers by the reference model, which is the model as the training begins or another one:
computed once, before the first step, so that no second model is held and no later pass or run pays again."""

import time
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from components import cache
from components.tokens import TokenRow, TokenRows
from components.training import ranks
from components.training.answer_batch import AnswerBatch, answer_log_probs
from components.training.isolation import collator
from components.training.job import Job

FILE = "reference/answers.safetensors"
"""In the folder of the checkpoints: the log probabilities, which go on with the run."""
REPORT_INTERVAL_S = 10.0


class Referenced:
    """The rows of a table, each with the log probabilities `reference` of its answers: sums, then tails.

    With `others`, a row also has `other_ids` and `other_labels`: the answer of the next row, which does not belong to
    its prompt.
    """

    def __init__(self, rows: TokenRows, others: bool) -> None:
        self.rows, self.others = rows, others
        self.values: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # which pickle looks for before there are rows
            raise AttributeError(name)
        return getattr(self.rows, name)

    def __getitem__(self, index: int) -> TokenRow:
        row = self.rows[index]
        if self.others:
            other = self.rows[(index + 1) % len(self.rows)]
            row |= {"other_ids": other["completion_ids"], "other_labels": other["completion_labels"]}
        return row if self.values is None else row | {"reference": self.values[index].numpy()}


def add_reference(job: Job, names: tuple[str, ...]) -> None:
    """Give each row of a job the log probabilities of its answers `names` by the job's reference model, or else by the
    model as it is now."""
    tables = {"train": job.rows, "val": job.val_rows}
    rows = {split: Referenced(table, "other" in names) for split, table in tables.items() if table is not None}
    job.rows, job.val_rows = rows["train"], rows.get("val")
    file = job.checkpoints / FILE
    if ranks.is_writer() and not (job.start and file.is_file()):
        file.unlink(missing_ok=True)
        if job.reference_of:
            cache.restore("reference", job.reference_of, {file.name: file})
    ranks.barrier()
    if not _fits(file, rows):
        model = job.reference() if job.reference else job.model
        values = {split: _computed(job, model, table, names) for split, table in rows.items()}
        del model  # another one is not needed any more
        if ranks.is_writer():
            _write(job, file, values)
        ranks.barrier()
    for split, values in load_file(file).items():
        rows[split].values = values


def _fits(file: Path, rows: dict[str, Referenced]) -> bool:
    """Return whether a file has values for each of the rows; a damaged one has none."""
    try:
        counts = {split: len(values) for split, values in load_file(file).items()}
    except (OSError, SafetensorError):
        return False
    return counts == {split: len(table) for split, table in rows.items()}


def _write(job: Job, file: Path, values: dict[str, torch.Tensor]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")
    save_file(values, temporary)
    temporary.rename(file)
    if job.reference_of:
        cache.keep("reference", job.reference_of, {file.name: file}, {})


@torch.no_grad()
def _computed(job: Job, model: Any, rows: Referenced, names: tuple[str, ...]) -> torch.Tensor:
    """Return the values of all rows [rows, 2 · answers], which the processes share among them."""
    batch, size = AnswerBatch(collator(job, model), names), job.rows_per_evaluation
    own = torch.arange(ranks.rank(), len(rows), ranks.world_size())
    parts, told = [], -REPORT_INTERVAL_S
    was_training = model.training
    model.eval()
    for start in range(0, len(own), size):
        if ranks.is_writer() and time.monotonic() - told > REPORT_INTERVAL_S:
            told = time.monotonic()
            job.report({"message": f"reference model: {start:,} of {len(own):,} rows"})
        inputs = batch([rows[int(i)] for i in own[start : start + size]])
        inputs = {name: tensor.to(model.device) for name, tensor in inputs.items()}
        log_probs = answer_log_probs(model, inputs, len(names))[0]
        parts.append(torch.cat([log_probs.sums, log_probs.tails], 1).float().cpu())
    model.train(was_training)
    values = torch.zeros(len(rows), 2 * len(names))
    numbers = torch.tensor(ranks.gathered(own.tolist()), dtype=torch.long)
    values[numbers] = torch.tensor(ranks.gathered(torch.cat(parts).tolist()) if parts else ranks.gathered([]))
    return values
