"""The data gate: every row is either clean or named, and the verdict says whether the run may go on.

Rows are seen a batch at a time, so that a million need little more memory than a few thousand. Each becomes a canonical
row, is looked at alone, and leaves a few bytes for the checks on all rows; then those that are still in are written.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.config.groups.validation import Validation
from components.data.canonical import SPLITS, batches, count, places
from components.data.checks import ALL, Batch, Context, Failures, Roster, checks, special
from components.data.findings import Finding, Findings
from components.data.seen import Seen, active, see
from components.parallel import ordered, processes
from components.rows import numbers, rows_writer

if TYPE_CHECKING:
    import pyarrow as pa

ALONE = 8192
"""Rows up to which one process does the work: starting others would take longer."""


@dataclass
class Verdict:
    """What the gate found.

    `findings` names each row left out once, and each that stays once for each check that warns of it. `checks` holds
    `{name, action, count, closed}`, also for the limits and, if asked for, the expectations. `spool` is where the
    canonical rows lie, also those left out.
    """

    spool: Path
    context: Context
    roster: Roster
    findings: Findings
    checks: list[dict[str, Any]] = field(default_factory=list)
    expectations: list[dict[str, Any]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def closed(self) -> bool:
        """Whether the run must stop."""
        return bool(self.reasons)

    def rows(self) -> dict[str, int]:
        """Clean rows by split, and the rows left out."""
        clean = {split: int(self.roster.alive[self.roster.of(split)].sum()) for split in SPLITS}
        return {**clean, "dropped": self.roster.total - sum(clean.values())}

    def add(self, name: str, action: str, count: int, reason: str = "") -> None:
        """Record a check; a `reason` closes the gate."""
        self.checks.append({"name": name, "action": action, "count": count, "closed": bool(reason)})
        if reason:
            self.reasons.append(reason)

    def batches(self, split: str) -> "Iterator[pa.RecordBatch]":
        """The clean rows of a split, in batches of `rows.schema()`."""
        import numpy as np

        start = self.roster.of(split).start
        for batch in batches(self.spool, split):
            alive = self.roster.alive[start : start + batch.num_rows]
            start += batch.num_rows
            if alive.any():
                yield batch if alive.all() else batch.take(numbers(np.flatnonzero(alive)))

    def write(self, folder: Path) -> None:
        """Write the clean rows as `train.parquet` and, if there are any, `val.parquet`. The spool is used up."""
        for split in SPLITS:
            alive = self.roster.alive[self.roster.of(split)]
            if alive.any() and alive.all():
                (self.spool / f"{split}.parquet").replace(folder / f"{split}.parquet")
            elif alive.any():
                with rows_writer(folder / f"{split}.parquet") as writer:
                    for batch in self.batches(split):
                        writer.write_batch(batch)


def inspect(
    raw: Path,
    spool: Path,
    questions: Mapping[str, list[str]],
    validation: Validation,
    model: Path | None = None,
    dataset_num_proc: int | None = None,
) -> Verdict:
    """Put the rows of `raw/{train,val}.parquet` through every check, then hold the limits against what is left.

    Args:
        spool: an empty folder, for what is needed until the clean rows are written.
        questions: the queries of each question set, by name.
        model: a model folder, whose tokenizer's special tokens no row may hold.
        dataset_num_proc: processes at work; None is one per core. The verdict does not depend on it.
    """
    roster = Roster({split: count(raw, split) for split in SPLITS})
    tokens = special.special_tokens(model) if model else []
    context = Context(validation, questions, tokens, has_val=roster.total > roster.border)
    verdict = Verdict(spool, context, roster, Findings(spool))
    # The threads of polars, once started, do not survive a fork.
    alone = roster.total <= ALONE or "polars" in sys.modules
    seen = ordered(partial(see, raw, context), places(raw), 1 if alone else processes(dataset_num_proc))
    with ExitStack() as stack:
        writers = {
            split: stack.enter_context(rows_writer(spool / f"{split}.parquet"))
            for split in SPLITS
            if (raw / f"{split}.parquet").exists()
        }
        examine(verdict, seen, lambda batch: writers[batch.split].write_batch(batch.arrow))
    verdict.findings.quote(batch.column("raw") for split in SPLITS for batch in batches(raw, split, ["raw"]))
    for name in checks():
        _conclude(verdict, name)
    _hold_limits(verdict)
    return verdict


def examine(verdict: Verdict, seen: Iterable[Seen], write: Callable[[Batch], None] | None = None) -> None:
    """Take what the checks that are not ignored said of each batch, then ask those on all rows together."""
    roster, context = verdict.roster, verdict.context
    whole = {name: check for name, check in active(context).items() if hasattr(check, "judge")}
    with ExitStack() as stack:
        files = {name: stack.enter_context((verdict.spool / f"{name}.kept").open("wb")) for name in whole}
        for batch, sizes, languages, failures, kept in seen:
            if write:
                write(batch)
            roster.name(batch.start, batch.arrow)
            roster.size[batch.start : batch.start + len(sizes)] = sizes
            if languages is not None:
                roster.language[batch.start : batch.start + len(sizes)] = languages
            for name, found in failures.items():
                _record(verdict, name, found, batch.start)
            for name, content in kept.items():
                files[name].write(content)
    for name, check in whole.items():
        _record(verdict, name, check.judge(verdict.spool / f"{name}.kept", roster, context))
        (verdict.spool / f"{name}.kept").unlink()
    verdict.findings.close()


def _record(verdict: Verdict, check: str, failures: Failures, start: int = 0) -> None:
    """Name the rows that fail, unless an earlier check has left them out; leave them out if the check does."""
    roster, action = verdict.roster, verdict.context.action(check)
    # A row that no format can read cannot go on, whatever was asked for.
    leaves_out = action in ("drop", "block") or check == "schema"
    for index, reason, bit, mild in failures:
        if index == ALL:
            verdict.findings.add("warned", Finding(ALL, "train", "", 0, check, reason))
            continue
        i = index + start
        if not roster.alive[i]:
            continue
        split = "train" if i < roster.border else "val"
        found = Finding(i, split, roster.sources[roster.source[i]], int(roster.row[i]), check, reason, bit)
        roster.alive[i] = not leaves_out or mild
        verdict.findings.add("warned" if roster.alive[i] else "rejected", found)


def _conclude(verdict: Verdict, check: str) -> None:
    findings, action = verdict.findings, verdict.context.action(check)
    out, warned = (findings.shown.get((level, check), []) for level in ("rejected", "warned"))
    at_fault = out or [finding for finding in warned if finding.index == ALL]
    count = findings.counts["rejected", check] + findings.counts["warned", check]
    told = _rows(findings.counts["rejected", check]) + ", first " if out else ""
    closing = f"{check}: {told}{at_fault[0]}" if at_fault and action == "block" else ""
    verdict.add(check, action, count, closing)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _hold_limits(verdict: Verdict) -> None:
    validation, total = verdict.context.validation, verdict.roster.total
    left, dropped = verdict.rows()["train"], verdict.rows()["dropped"]
    few = f"min_rows: {_rows(left)} left to train on, fewer than {validation.min_rows:,}"
    verdict.add("min_rows", "block", left, few + _causes(verdict) if left < validation.min_rows else "")
    many = f"max_dropped: {dropped:,} of {_rows(total)} left out, more than {validation.max_dropped:.0%}"
    too_many = total and dropped / total > validation.max_dropped
    verdict.add("max_dropped", "block", dropped, many + _causes(verdict) if too_many else "")


def _causes(verdict: Verdict) -> str:
    """How many rows each check left out, and the first row of all unless an earlier reason has quoted one."""
    out = {name: count for (level, name), count in verdict.findings.counts.items() if level == "rejected"}
    counts = ", ".join(f"{name} {count:,}" for name, count in out.items())
    first = f", first {verdict.findings.of('rejected')[0]}" if out and not verdict.reasons else ""
    return f" ({counts}{first})" if counts else ""
