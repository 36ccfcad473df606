"""The data gate for rows that pass by: each is looked at alone, and what is left out is counted.

What needs all rows at once (duplicates, leaks, contradictions, the balance of labels) cannot be looked for.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from components.data.checks import ALL, Batch, Context, checks
from components.data.formats import to_row
from components.data.sources import where
from components.data.stream import Item
from components.errors import DataGateError
from components.rows import Row, to_arrow

ENOUGH = 1000
"""Rows from which on a share of them means something."""


@dataclass
class Tally:
    """How many rows came, how many were left out and warned of by reason, and the first row of each reason.

    `samples` counts what was made of the rows that stayed.
    """

    rows: int = 0
    samples: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    warned: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, saved: dict[str, Any]) -> "Tally":
        """What `saved` gave."""
        counted = {name: Counter(saved[name]) for name in ("left_out", "warned")}
        return cls(**{**saved, **counted, "first": dict(saved["first"])})

    def saved(self) -> dict[str, Any]:
        """As plain JSON."""
        return {name: dict(value) if isinstance(value, dict) else value for name, value in asdict(self).items()}

    def leave_out(self, reason: str, item: Item, words: str) -> None:
        """Count a row that is left out; `words` is about this one."""
        self._add(self.left_out, reason, item, words)

    def warn(self, reason: str, item: Item, words: str) -> None:
        """Count a row that stays."""
        self._add(self.warned, reason, item, words)

    def _add(self, counter: Counter[str], reason: str, item: Item, words: str) -> None:
        counter[reason] += 1
        self.first.setdefault(reason, f"{where(item.source, item.number)}: {words}")

    def hold(self, max_dropped: float, ends: bool) -> None:
        """Close the gate when too many rows are left out; `ends` says that a pass is over, and few rows are enough.

        Raises:
            DataGateError: more than the share `max_dropped` of all rows so far, or nothing to learn from in a pass.
        """
        out = self.left_out.total()
        causes = "; ".join(f"{count:,} x {reason}, first {self.first[reason]}" for reason, count in
                           self.left_out.most_common(5))  # fmt: skip
        if (ends or self.rows >= ENOUGH) and out > max_dropped * self.rows:
            raise DataGateError(
                f"the data gate closed: max_dropped: {out:,} of the first {self.rows:,} rows left out, more than "
                f"{max_dropped:.0%} ({causes})"
            )
        if ends and not self.samples:
            raise DataGateError(f"none of the {self.rows:,} rows can be learned from ({causes})")


def sift(items: Sequence[Item], context: Context, tally: Tally) -> list[tuple[Item, Row]]:
    """The rows that formats read and that pass the checks on single rows, each with its item; the others are counted.

    Raises:
        DataGateError: a row fails a check that is to `block`. (A row in no format is always left out.)
    """
    tally.rows += len(items)
    read: list[tuple[Item, Row]] = []
    for item in items:
        try:
            if item.fault:
                raise ValueError(item.fault)
            read.append((item, _row(item.raw)))
        except ValueError as error:
            tally.leave_out("schema", item, str(error))
    if not read:
        return []
    arrow = to_arrow([row for _, row in read], [item.source for item, _ in read], [item.number for item, _ in read])
    batch = Batch("train", 0, [row for _, row in read], arrow)
    stays = [True] * len(read)
    for name, check in checks().items():
        action = context.action(name)
        if not hasattr(check, "look") or action == "ignore":
            continue
        for failure in check.look(batch, context):
            if failure.row == ALL or not stays[failure.row]:
                continue
            item = read[failure.row][0]
            if failure.mild or action == "warn":
                tally.warn(name, item, failure.reason)
                continue
            tally.leave_out(name, item, failure.reason)
            stays[failure.row] = False
            if action == "block":
                raise DataGateError(f"the data gate closed: {name}: {tally.first[name]}")
    return [found for found, stay in zip(read, stays, strict=True) if stay]


def _row(raw: bytes) -> Row:
    import orjson

    return to_row(orjson.loads(raw))
