"""Streaming gate: row-level checks only.

Each row is checked alone, and the rows left out are counted. What needs all rows at once (duplicates, leaks,
contradictions, the balance of labels) is not checked.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.config.groups.validation import Validation
from components.data.check_list import is_active, row_checks
from components.data.checks import ALL, Batch, Context
from components.data.checks.special import special_tokens
from components.data.formats import read_row
from components.data.sources import row_location
from components.data.stream import RawRow
from components.errors import DataGateError
from components.media import COLUMNS
from components.rows import Row, to_arrow

MIN_ROWS_FOR_SHARE = 1000
"""Rows from which on the share of those left out is compared with `max_dropped`."""


@dataclass
class GateCounts:
    """Counts of the rows of a stream.

    Attributes:
        rows: all rows.
        samples: what was made of the rows that stayed.
        left_out, warned: rows by reason.
        first: the first row of each reason, for people.
    """

    rows: int = 0
    samples: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    warned: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from the counts that `saved` returned."""
        self.rows, self.samples, self.first = saved["rows"], saved["samples"], dict(saved["first"])
        self.left_out, self.warned = Counter(saved["left_out"]), Counter(saved["warned"])

    def saved(self) -> dict[str, Any]:
        """Return the counts as plain JSON."""
        return {name: dict(value) if isinstance(value, dict) else value for name, value in vars(self).items()}

    def leave_out(self, reason: str, row: RawRow, detail: str) -> None:
        """Count a row that is left out; `detail` is about this row."""
        self._add(self.left_out, reason, row, detail)

    def warn(self, reason: str, row: RawRow, detail: str) -> None:
        """Count a row that stays."""
        self._add(self.warned, reason, row, detail)

    def _add(self, counter: Counter[str], reason: str, row: RawRow, detail: str) -> None:
        counter[reason] += 1
        self.first.setdefault(reason, f"{row_location(row.source, row.number)}: {detail}")

    def check_limits(self, max_dropped: float, ends: bool) -> None:
        """Close the gate when too many rows are left out.

        Args:
            max_dropped: the largest share of all rows so far.
            ends: a pass is over, so that also few rows are compared.

        Raises:
            DataGateError: more rows are left out, or a pass has nothing to learn from.
        """
        dropped = self.left_out.total()
        reasons = self.left_out.most_common(5)
        causes = "; ".join(f"{count:,} x {reason}, first {self.first[reason]}" for reason, count in reasons)
        if (ends or self.rows >= MIN_ROWS_FOR_SHARE) and dropped > max_dropped * self.rows:
            raise DataGateError(
                f"the data gate closed: max_dropped: {dropped:,} of the first {self.rows:,} rows left out, more than "
                f"{max_dropped:.0%} ({causes})"
            )
        if ends and not self.samples:
            raise DataGateError(f"none of the {self.rows:,} rows can be learned from ({causes})")


class StreamingGate:
    """The formats and the active checks on single rows.

    Args:
        model: the folder with the tokenizer whose special tokens no row may hold.
    """

    def __init__(self, validation: Validation, model: Path) -> None:
        self.context = Context(validation, special=special_tokens(model))
        self.checks = {name: check for name, check in row_checks().items() if is_active(name, self.context)}

    def __call__(self, rows: Sequence[RawRow], counts: GateCounts) -> list[tuple[RawRow, Row]]:
        """Return the rows that pass, each raw and canonical; `counts` counts the others.

        Raises:
            DataGateError: a row has media, or fails a check that is to `block`. (A row in no format is always left
                out instead.)
        """
        counts.rows += len(rows)
        readable = _read(rows, counts)
        if not readable:
            return []
        canonical = [row for _, row in readable]
        arrow = to_arrow(canonical, [raw.source for raw, _ in readable], [raw.number for raw, _ in readable])
        batch = Batch("train", 0, canonical, arrow)
        stays = [True] * len(readable)
        for name, check in self.checks.items():
            action = self.context.action(name)
            for failure in check.check_rows(batch, self.context):
                if failure.row == ALL or not stays[failure.row]:
                    continue
                stays[failure.row] = failure.mild or action == "warn"
                count = counts.warn if stays[failure.row] else counts.leave_out
                count(name, readable[failure.row][0], failure.reason)
                if action == "block" and not failure.mild:
                    raise DataGateError(f"the data gate closed: {name}: {counts.first[name]}")
        return [pair for pair, stay in zip(readable, stays, strict=True) if stay]


def _read(rows: Sequence[RawRow], counts: GateCounts) -> list[tuple[RawRow, Row]]:
    readable: list[tuple[RawRow, Row]] = []
    for row in rows:
        try:
            if row.fault:
                raise ValueError(row.fault)
            canonical = read_row(row.raw)
        except ValueError as error:
            counts.leave_out("schema", row, str(error))
            continue
        if any(canonical.get(column) for column in COLUMNS.values()):
            where = row_location(row.source, row.number)
            raise DataGateError(f"{where}: holds media, which a stream does not look up; leave --streaming out")
        readable.append((row, canonical))
    return readable
