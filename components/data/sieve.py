"""The data gate for rows that pass by: each is looked at alone, and what is left out is counted.

What needs all rows at once (duplicates, leaks, contradictions, the balance of labels) cannot be looked for.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.config.groups.validation import Validation
from components.data.checks import ALL, Batch, Context, checks
from components.data.checks.special import special_tokens
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

    def restore(self, saved: dict[str, Any]) -> None:
        """Go on from what `saved` gave."""
        self.rows, self.samples, self.first = saved["rows"], saved["samples"], dict(saved["first"])
        self.left_out, self.warned = Counter(saved["left_out"]), Counter(saved["warned"])

    def saved(self) -> dict[str, Any]:
        """As plain JSON."""
        return {name: dict(value) if isinstance(value, dict) else value for name, value in vars(self).items()}

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


class Sieve:
    """The formats, and those of the checks that look at single rows.

    Args:
        model: the folder with the tokenizer whose special tokens no row may hold.
    """

    def __init__(self, validation: Validation, model: Path) -> None:
        self.context = Context(validation, special=special_tokens(model))
        actions = {name: self.context.action(name) for name, check in checks().items() if hasattr(check, "look")}
        self.actions = {name: action for name, action in actions.items() if action != "ignore"}

    def __call__(self, items: Sequence[Item], tally: Tally) -> list[tuple[Item, Row]]:
        """The rows that pass, each with its item; `tally` counts the others.

        Raises:
            DataGateError: a row fails a check that is to `block`. (A row in no format is left out whatever is asked.)
        """
        tally.rows += len(items)
        read = _read(items, tally)
        numbers = [item.number for item, _ in read]
        arrow = to_arrow([row for _, row in read], [item.source for item, _ in read], numbers)
        batch = Batch("train", 0, [row for _, row in read], arrow)
        stays = [True] * len(read)
        for name, action in self.actions.items():
            for failure in checks()[name].look(batch, self.context) if read else ():
                if failure.row == ALL or not stays[failure.row]:
                    continue
                stays[failure.row] = failure.mild or action == "warn"
                count = tally.warn if stays[failure.row] else tally.leave_out
                count(name, read[failure.row][0], failure.reason)
                if action == "block" and not failure.mild:
                    raise DataGateError(f"the data gate closed: {name}: {tally.first[name]}")
        return [found for found, stay in zip(read, stays, strict=True) if stay]


def _read(items: Sequence[Item], tally: Tally) -> list[tuple[Item, Row]]:
    found: list[tuple[Item, Row]] = []
    for item in items:
        try:
            if item.fault:
                raise ValueError(item.fault)
            found.append((item, _row(item.raw)))
        except ValueError as error:
            tally.leave_out("schema", item, str(error))
    return found


def _row(raw: bytes) -> Row:
    import orjson

    return to_row(orjson.loads(raw))
