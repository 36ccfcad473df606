"""Checks on all rows together: one file each, named by `validation.on_<name>`.

A set check sees the rows twice. `records` extracts a few bytes of each row, batch by batch, into a file; `check_set`
then reads that file. So a million rows are never in memory together, nor is a Python object for each of them.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from components.data.checks import Batch, Context, Failures
from components.data.row_index import RowIndex
from components.plugins import Kind

if TYPE_CHECKING:
    import numpy as np

__all__ = ["SET_CHECKS", "SetCheck"]


class SetCheck(Protocol):
    """A check on all rows together.

    Attributes:
        RECORD: the NumPy type of one record.
    """

    RECORD: Any

    def records(self, batch: Batch, context: Context) -> "np.ndarray":
        """Return records of a batch, an array of `RECORD`."""
        ...

    def check_set(self, file: Path, rows: RowIndex, context: Context) -> Failures:
        """Return the rows that fail, of those that no earlier check has left out; `file` holds the records."""
        ...


SET_CHECKS = Kind("set check", "validation", "components.data.set_checks", SetCheck)
