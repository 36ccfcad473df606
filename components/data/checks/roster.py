"""A few bytes for each of all rows: where it is from, and whether it is still in."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from components.data.sources import where

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


class Roster:
    """All rows in order, `rows["train"]` of training, then `rows["val"]` of validation; arrays of one value a row.

    `source` (a place in `sources`) and `row` name it, `size` is in characters, `language` a place in `language.NAMES`,
    and `alive` false once a check has left the row out.
    """

    def __init__(self, rows: Mapping[str, int]) -> None:
        import numpy as np

        self.border, self.total = rows["train"], rows["train"] + rows["val"]
        self.sources: list[str] = []
        self.source = np.zeros(self.total, np.int32)
        self.row = np.zeros(self.total, np.int64)
        self.size = np.zeros(self.total, np.int32)
        self.language = np.zeros(self.total, np.uint8)
        self.alive = np.ones(self.total, bool)

    def name(self, start: int, batch: "pa.RecordBatch") -> None:
        """Take `source` and `row` of a batch whose first row has the index `start`."""
        import numpy as np

        names = batch.column("source").dictionary_encode()
        self.sources += [name for name in names.dictionary.to_pylist() if name not in self.sources]
        numbers = np.array([self.sources.index(name) for name in names.dictionary.to_pylist()], np.int32)
        places: Any = np.from_dlpack(names.indices)
        self.source[start : start + batch.num_rows] = numbers[places]
        self.row[start : start + batch.num_rows] = np.from_dlpack(batch.column("row"))

    def of(self, split: str) -> slice:
        """The rows of a split."""
        return slice(0, self.border) if split == "train" else slice(self.border, self.total)

    def same(self, one: "np.ndarray", other: "np.ndarray") -> "np.ndarray":
        """Where two lists of rows name the same row of the same source."""
        return (self.source[one] == self.source[other]) & (self.row[one] == self.row[other])

    def where(self, index: int) -> str:
        """How a person finds a row: `train.jsonl:17`."""
        return where(self.sources[self.source[index]], int(self.row[index]))
