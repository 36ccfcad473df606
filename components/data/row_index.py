"""The row index: a few bytes for each of all rows, namely where the row comes from and whether it is still clean."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from components.data.sources import row_location

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class RowIndex:
    """All rows in order, those of training first, then those of validation; each array has one value a row.

    Attributes:
        train_rows, total: number of training rows, and of all rows.
        source, row: the dataset (an index into `sources`) and the row's number there.
        size: characters.
        language: an index into `languages`.
        longer: of a pair, 1 where the chosen answer is longer, -1 where the rejected one is; otherwise 0.
        clean: no check has left the row out.
    """

    def __init__(self, rows: Mapping[str, int]) -> None:
        import numpy as np

        self.train_rows, self.total = rows["train"], rows["train"] + rows["val"]
        self.sources: list[str] = []
        self.languages: list[str] = []
        self.source = np.zeros(self.total, np.int32)
        self.row = np.zeros(self.total, np.int64)
        self.size = np.zeros(self.total, np.int32)
        self.language = np.zeros(self.total, np.int32)
        self.longer = np.zeros(self.total, np.int8)
        self.clean = np.ones(self.total, bool)

    def add(
        self,
        start: int,
        batch: "pa.RecordBatch",
        sizes: "np.ndarray",
        languages: list[str] | None,
        longer: "np.ndarray | None",
    ) -> None:
        """Take the values of a batch whose first row has the index `start`."""
        import numpy as np

        rows = slice(start, start + batch.num_rows)
        names = batch.column("source").dictionary_encode()
        numbers = np.array([_number(self.sources, name) for name in names.dictionary.to_pylist()], np.int32)
        indices: Any = np.from_dlpack(names.indices)
        self.source[rows] = numbers[indices]
        self.row[rows] = np.from_dlpack(batch.column("row"))
        self.size[rows] = sizes
        if languages is not None:
            self.language[rows] = [_number(self.languages, name) for name in languages]
        if longer is not None:
            self.longer[rows] = longer

    def of(self, split: str) -> slice:
        """Return the rows of a split."""
        return slice(0, self.train_rows) if split == "train" else slice(self.train_rows, self.total)

    def same(self, one: "np.ndarray", other: "np.ndarray") -> "np.ndarray":
        """Return where two lists of rows name the same row of the same source."""
        return (self.source[one] == self.source[other]) & (self.row[one] == self.row[other])

    def where(self, index: int) -> str:
        """Return a row's place for people: `train.jsonl:17`."""
        return row_location(self.sources[self.source[index]], int(self.row[index]))


def _number(names: list[str], name: str) -> int:
    """Return the index of a name in the list, which gets the name where it lacks it."""
    if name not in names:
        names.append(name)
    return names.index(name)
