"""The data gate: every row is either clean or named, and the verdict says whether the run may go on.

Rows are checked a batch at a time, so that a million need little more memory than a few thousand. Each batch becomes
canonical rows, passes the checks on single rows, and leaves records for the checks on all rows; the rows that no check
has left out are written at the end.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.config.groups.validation import Validation
from components.data.batch_report import BatchReport, check_row_group
from components.data.canonical import SPLITS, batches, count_rows, row_groups
from components.data.check_list import all_checks, is_active, set_checks
from components.data.checks import ALL, Batch, Context, Failures, special
from components.data.findings import Finding, Findings
from components.data.media import listed_media
from components.data.row_index import RowIndex
from components.media import Inspector
from components.parallel import ordered, processes
from components.rows import numbers, rows_writer

if TYPE_CHECKING:
    import pyarrow as pa

LOOKING = ("media_missing", "media_unreadable", "media_long", "media_quality", "boxes", "similar_pictures")
"""Checks that look into the files of media."""
SINGLE_PROCESS_MAX_ROWS = 8192
"""Rows up to which one process does the work: starting others would take longer."""


@dataclass
class Verdict:
    """The result of the gate.

    Attributes:
        folder: where the canonical rows are, also those left out.
        row_index: all rows.
        findings: each row left out, once; each row that stays, once for each check that warns of it.
        checks: `{name, action, count, left_out, closed}` of each check, of the limits and, where on, the expectations.
        reasons: why the gate is closed.
    """

    folder: Path
    context: Context
    row_index: RowIndex
    findings: Findings
    checks: list[dict[str, Any]] = field(default_factory=list)
    expectations: list[dict[str, Any]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def closed(self) -> bool:
        """Whether the run must stop."""
        return bool(self.reasons)

    def rows(self) -> dict[str, int]:
        """Return the number of clean rows by split, and under `dropped` that of the rows left out."""
        clean = {split: int(self.row_index.clean[self.row_index.of(split)].sum()) for split in SPLITS}
        return {**clean, "dropped": self.row_index.total - sum(clean.values())}

    def add(self, name: str, action: str, count: int, reason: str = "", left_out: int = 0) -> None:
        """Record a check with the number of its rows, and of those that it leaves out; a `reason` closes the gate."""
        entry = {"name": name, "action": action, "count": count, "left_out": left_out, "closed": bool(reason)}
        self.checks.append(entry)
        if reason:
            self.reasons.append(reason)

    def batches(self, split: str) -> "Iterator[pa.RecordBatch]":
        """Yield the clean rows of a split, in batches of `rows.schema()`."""
        import numpy as np

        start = self.row_index.of(split).start
        for batch in batches(self.folder, split):
            clean = self.row_index.clean[start : start + batch.num_rows]
            start += batch.num_rows
            if clean.any():
                yield batch if clean.all() else batch.take(numbers(np.flatnonzero(clean)))

    def write(self, folder: Path) -> None:
        """Write the clean rows as `train.parquet` and, if there are any, `val.parquet`. Afterwards no batch is left."""
        for split in SPLITS:
            clean = self.row_index.clean[self.row_index.of(split)]
            if clean.any() and clean.all():
                (self.folder / f"{split}.parquet").replace(folder / f"{split}.parquet")
            elif clean.any():
                with rows_writer(folder / f"{split}.parquet") as writer:
                    for batch in self.batches(split):
                        writer.write_batch(batch)


def run_gate(
    raw: Path,
    folder: Path,
    questions: Mapping[str, list[str]],
    validation: Validation,
    model: Path | None = None,
    dataset_num_proc: int | None = None,
    media: Path | None = None,
) -> Verdict:
    """Run every check over the rows of `raw/{train,val}.parquet`, then compare what is left with the limits.

    Args:
        folder: an empty folder for the canonical rows, until the clean ones are written.
        questions: the queries of each question set, by name.
        model: a model folder, whose tokenizer's special tokens no row may hold.
        dataset_num_proc: processes at work; None is one per core. The verdict does not depend on it.
        media: the folder of media that are kept.
    """
    row_index = RowIndex({split: count_rows(raw, split) for split in SPLITS})
    tokens = special.special_tokens(model) if model else []
    inspector = Inspector(media or folder, processes(dataset_num_proc))
    context = Context(validation, questions, tokens, row_index.total > row_index.train_rows, inspector)
    verdict = Verdict(folder, context, row_index, Findings(folder))
    # The threads of polars, once started, do not survive a fork.
    one_process = row_index.total <= SINGLE_PROCESS_MAX_ROWS or "polars" in sys.modules
    workers = 1 if one_process else processes(dataset_num_proc)
    if any(is_active(name, context) for name in LOOKING):
        inspector.facts(listed_media(raw))  # once, before the work is divided
    inspector.close()
    reports = ordered(partial(check_row_group, raw, context), row_groups(raw), workers)
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(rows_writer(folder / f"{split}.parquet"))
            for split in SPLITS
            if (raw / f"{split}.parquet").exists()
        }
        collect_reports(verdict, reports, lambda batch: writers[batch.split].write_batch(batch.arrow))
    verdict.findings.quote(batch.column("raw") for split in SPLITS for batch in batches(raw, split, ["raw"]))
    for name in all_checks():
        _conclude(verdict, name)
    _check_limits(verdict)
    return verdict


def collect_reports(
    verdict: Verdict, reports: Iterable[BatchReport], write: Callable[[Batch], None] | None = None
) -> None:
    """Add the reports on all batches to the verdict, then run the checks on all rows together.

    Args:
        write: called with each batch.
    """
    row_index, context = verdict.row_index, verdict.context
    paths = {name: verdict.folder / f"{name}.records" for name in set_checks() if is_active(name, context)}
    with ExitStack() as stack:
        files = {name: stack.enter_context(path.open("wb")) for name, path in paths.items()}
        for report in reports:
            if write:
                write(report.batch)
            row_index.add(report.batch.start, report.batch.arrow, report.sizes, report.languages, report.longer)
            for name, failures in report.failures.items():
                _add_failures(verdict, name, failures, report.batch.start)
            for name, records in report.records.items():
                files[name].write(records)
    for name, path in paths.items():
        _add_failures(verdict, name, set_checks()[name].check_set(path, row_index, context))
        path.unlink()
    verdict.findings.close()


def _add_failures(verdict: Verdict, check: str, failures: Failures, start: int = 0) -> None:
    """Add a finding for each row that fails and is still clean; a check that drops or blocks leaves the row out."""
    row_index, action = verdict.row_index, verdict.context.action(check)
    # A row that no format can read cannot go on, whatever its action is.
    leaves_out = action in ("drop", "block") or check == "schema"
    for row, reason, excerpt, mild in failures:
        if row == ALL:
            verdict.findings.add("warned", Finding(ALL, "train", "", 0, check, reason))
            continue
        i = row + start
        if not row_index.clean[i]:
            continue
        split = "train" if i < row_index.train_rows else "val"
        source, number = row_index.sources[row_index.source[i]], int(row_index.row[i])
        row_index.clean[i] = not leaves_out or mild
        level = "warned" if row_index.clean[i] else "rejected"
        verdict.findings.add(level, Finding(i, split, source, number, check, reason, excerpt))


def _conclude(verdict: Verdict, check: str) -> None:
    """Record a check with its count, and close the gate where the check blocks and a row fails."""
    findings, action = verdict.findings, verdict.context.action(check)
    rejected, warned = (findings.shown.get((level, check), []) for level in ("rejected", "warned"))
    at_fault = rejected or [finding for finding in warned if finding.index == ALL]
    rejected_count = findings.counts["rejected", check]
    reason = ""
    if at_fault and action == "block":
        amount = f"{_rows(rejected_count)}, first " if rejected else ""
        reason = f"{check}: {amount}{at_fault[0]}"
    verdict.add(check, action, rejected_count + findings.counts["warned", check], reason, rejected_count)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _check_limits(verdict: Verdict) -> None:
    """Close the gate when too few training rows are left, or too large a share of all rows was left out."""
    validation, total = verdict.context.validation, verdict.row_index.total
    train, dropped = verdict.rows()["train"], verdict.rows()["dropped"]
    reason = ""
    if train < validation.min_rows:
        reason = f"min_rows: {_rows(train)} left to train on, fewer than {validation.min_rows:,}" + _causes(verdict)
    verdict.add("min_rows", "block", train, reason)
    reason = ""
    if total and dropped / total > validation.max_dropped:
        share = f"{dropped:,} of {_rows(total)} left out, more than {validation.max_dropped:.0%}"
        reason = f"max_dropped: {share}" + _causes(verdict)
    verdict.add("max_dropped", "block", dropped, reason)


def _causes(verdict: Verdict) -> str:
    """Return how many rows each check left out, and the first row of all unless an earlier reason has quoted one."""
    rejected = {name: count for (level, name), count in verdict.findings.counts.items() if level == "rejected"}
    counts = ", ".join(f"{name} {count:,}" for name, count in rejected.items())
    first = f", first {verdict.findings.of('rejected')[0]}" if rejected and not verdict.reasons else ""
    return f" ({counts}{first})" if counts else ""
