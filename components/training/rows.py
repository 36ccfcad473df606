"""An Arrow file of tokens as a dataset: of rows, or of packs of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import ConfigError, MartletError
from components.files import sha256, sha256_of
from components.training.packing import pack

if TYPE_CHECKING:
    import numpy as np

IGNORED = -100
"""Label of a token that is not learned."""

Row = dict[str, Any]
"""`input_ids`, `labels` and, where the file has weights, `loss_scale`: arrays [length]."""


def tokens_hash(folder: Path) -> str:
    """Hex sha256 over train.arrow and, where there is one, val.arrow."""
    return sha256_of([sha256(file) for file in sorted(folder.glob("*.arrow"))])


class Rows:
    """A map-style dataset over the columns of a memory-mapped Arrow file."""

    def __init__(self, file: Path) -> None:
        import pyarrow as pa

        table = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
        if not len(table):
            raise MartletError(f"{file}: no rows to learn from")
        self.lengths: np.ndarray = table["length"].to_numpy()
        self.weighted = "loss_scale" in table.column_names
        self._columns = {name: table[name] for name in ("input_ids", "labels", *["loss_scale"] * self.weighted)}
        self._origin = table["source"], table["row"]

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> Row:
        return {name: column[index].values.to_numpy() for name, column in self._columns.items()}

    def origin(self, index: int) -> str:
        """Where a row comes from, for people."""
        source, row = self._origin
        return f"{source[index]}, row {row[index]}"


class Packs:
    """A map-style dataset of packs: lists of rows that together have at most `length` tokens.

    Raises:
        ConfigError: a row is longer than a pack.
    """

    def __init__(self, rows: Rows, length: int | None, strategy: str) -> None:
        import numpy as np

        longest = int(rows.lengths.argmax())
        self.rows, self.length = rows, length or int(rows.lengths[longest])
        if rows.lengths[longest] > self.length:
            raise ConfigError(
                f"packing_length: {rows.origin(longest)} has {rows.lengths[longest]} tokens and a pack holds "
                f"{self.length}; raise --packing_length to {rows.lengths[longest]} or lower --max_length"
            )
        self._order, self._bounds = pack(rows.lengths, self.length, strategy)
        self.lengths: np.ndarray = np.add.reduceat(rows.lengths[self._order], self._bounds[:-1])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> list[Row]:
        return [self.rows[int(i)] for i in self._order[self._bounds[index] : self._bounds[index + 1]]]

    @property
    def fill(self) -> float:
        """Share of the packs' tokens that are rows."""
        return float(self.lengths.sum() / (len(self) * self.length))
