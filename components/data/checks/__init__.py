"""Checks on single rows: one file each, named by `validation.on_<name>`.

The first line of a check's docstring is what the report says of it. A check is a module that fulfils `RowCheck`, ours
or a user's:

    ROW_CHECKS.load("empty")                                        # components/data/checks/empty.py
    ROW_CHECKS.load("apology", external=[Path("apology.py")])       # a user's file

Checks on all rows together are in `components.data.set_checks`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from components.config.groups.validation import Validation
from components.data.checks._batch import Batch
from components.media import Inspector
from components.plugins import Kind

__all__ = ["ALL", "ROW_CHECKS", "Batch", "Context", "Failure", "Failures", "RowCheck"]

ALL = -1
"""The index of a failure of all rows together, which no check can drop."""


class Failure(NamedTuple):
    """A row that fails a check.

    Attributes:
        row: the row's index in the batch, in a set check its index among all rows; `ALL` where no single row is at
            fault.
        reason: why the row fails, for people.
        excerpt: the offending piece of the row's text, which the report marks.
        mild: never more than a warning.
    """

    row: int
    reason: str
    excerpt: str = ""
    mild: bool = False


Failures = Iterable[Failure]


@dataclass(frozen=True)
class Context:
    """What checks compare rows with.

    Attributes:
        validation: the parameters.
        questions: the queries of each question set, by its name.
        special: the tokenizer's special tokens.
        has_val: there are validation rows.
        inspector: looks into the files of media; without one the checks of their contents see nothing.
    """

    validation: Validation
    questions: Mapping[str, list[str]] = field(default_factory=dict)
    special: Sequence[str] = ()
    has_val: bool = False
    inspector: Inspector | None = None

    def action(self, check: str) -> str:
        """Return what happens to a row that fails `check`: ignore, warn, drop or block."""
        return getattr(self.validation, f"on_{check}")

    def changed(self, **actions: str) -> "Context":
        """Return the same context with other parameters."""
        return replace(self, validation=self.validation.model_copy(update=actions))


class RowCheck(Protocol):
    """A check on single rows."""

    def check_rows(self, batch: Batch, context: Context) -> Failures:
        """Return the rows of a batch (some thousand, as flat columns) that fail."""
        ...


ROW_CHECKS = Kind("row check", "validation", "components.data.checks", RowCheck)
