"""The data gate: every row is either clean or named, and the verdict says whether the run may go on."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from components.config.groups.validation import Validation
from components.data.checks import CHECKS, Context, Row
from components.data.formats import to_messages
from components.data.sources import where
from components.data.tables import Table
from components.data.turns import Message

QUOTE = 160


class Finding(NamedTuple):
    """A row that failed a check: where it is, why, and its beginning."""

    split: str
    source: str
    row: int
    check: str
    reason: str
    quote: str

    @property
    def where(self) -> str:
        """How a person finds the row: `train.jsonl:17`."""
        return where(self.source, self.row)

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}: {self.quote}"


@dataclass
class Verdict:
    """What the gate found.

    `rejected` are the rows left out, `warned` those that stay; each lists a row once for each check that names it.
    `checks` holds `{name, action, count, closed}`, also for the limits and, if asked for, the expectations.
    """

    clean: list[Row]
    total: int
    rejected: list[Finding] = field(default_factory=list)
    warned: list[Finding] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    expectations: list[dict[str, Any]] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    @property
    def closed(self) -> bool:
        """Whether the run must stop."""
        return bool(self.reasons)

    def rows(self) -> dict[str, int]:
        """Clean rows by split, and the rows left out."""
        train = sum(row.split == "train" for row in self.clean)
        return {"train": train, "val": len(self.clean) - train, "dropped": len(self.rejected)}

    def conversations(self, split: str) -> list[tuple[list[Message], str, int]]:
        """Messages, source and row number of the clean rows of one split."""
        return [(row.messages, row.source, row.row) for row in self.clean if row.split == split]

    def add(self, name: str, action: str, count: int, reason: str) -> None:
        """Record a check; a `reason` closes the gate."""
        self.checks.append({"name": name, "action": action, "count": count, "closed": bool(reason)})
        if reason:
            self.reasons.append(reason)


def read_rows(tables: Mapping[str, Table]) -> list[Row]:
    """The rows of all splits, each converted to messages or marked as unreadable."""
    return [_read(split, *columns) for split, table in tables.items() for columns in zip(*table, strict=True)]


def _read(split: str, source: str, row: int, raw: str) -> Row:
    import orjson

    try:
        return Row(split, source, row, raw, to_messages(orjson.loads(raw)))
    except ValueError as error:
        return Row(split, source, row, raw, [], str(error))


def inspect(tables: Mapping[str, Table], questions: Mapping[str, list[str]], validation: Validation) -> Verdict:
    """Put the raw rows of `train` and `val` through every check, then hold the limits against what is left.

    Args:
        questions: the queries of each question set, by name.
    """
    rows = read_rows(tables)
    verdict = Verdict(rows, len(rows))
    context = Context(validation, questions)
    for name, check in CHECKS.items():
        action: str = getattr(validation, f"on_{name}")
        failures = dict(check(verdict.clean, context))
        findings = [_finding(verdict.clean[i], name, reason) for i, reason in failures.items()]
        # A row that no format can read cannot go on, whatever was asked for.
        if action in ("drop", "block") or name == "schema":
            verdict.rejected += findings
            verdict.clean = [row for i, row in enumerate(verdict.clean) if i not in failures]
        elif action == "warn":
            verdict.warned += findings
        closing = f"{name}: {_rows(len(findings))}, first {findings[0]}" if findings and action == "block" else ""
        verdict.add(name, action, len(findings), closing)
    _hold_limits(verdict, validation)
    return verdict


def _finding(row: Row, check: str, reason: str) -> Finding:
    quote = row.raw if len(row.raw) <= QUOTE else f"{row.raw[:QUOTE]}…"
    return Finding(row.split, row.source, row.row, check, reason, quote)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _hold_limits(verdict: Verdict, validation: Validation) -> None:
    left, dropped = verdict.rows()["train"], len(verdict.rejected)
    few = f"min_rows: {_rows(left)} left to train on, fewer than {validation.min_rows:,}"
    verdict.add("min_rows", "block", left, few + _causes(verdict) if left < validation.min_rows else "")
    share = dropped / verdict.total if verdict.total else 0.0
    many = f"max_dropped: {dropped:,} of {_rows(verdict.total)} left out, more than {validation.max_dropped:.0%}"
    verdict.add("max_dropped", "block", dropped, many + _causes(verdict) if share > validation.max_dropped else "")


def _causes(verdict: Verdict) -> str:
    """How many rows each check left out, and the first row of all unless an earlier reason has quoted one."""
    counts = ", ".join(f"{name} {count:,}" for name, count in Counter(f.check for f in verdict.rejected).items())
    first = f", first {verdict.rejected[0]}" if verdict.rejected and not verdict.reasons else ""
    return f" ({counts}{first})" if counts else ""


def hold_expectations(verdict: Verdict, validation: Validation) -> None:
    """Hold the contract of named expectations against the clean rows; a failed one closes the gate."""
    from components.data.expectations import expect

    verdict.expectations = expect(verdict.clean, validation)
    failed = [f"'{e['name']}' does not hold ({e['observed']})" for e in verdict.expectations if not e["success"]]
    verdict.add("expectations", "block", len(failed), f"expectations: {', '.join(failed)}" if failed else "")
