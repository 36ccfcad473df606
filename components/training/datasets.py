"""What a trainer iterates over: rows of a token file, packs of rows, and the order in which they come."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from components.errors import ConfigError
from components.files import sha256, sha256_of
from components.tokens import TokenRow, TokenRows
from components.training.packing import pack

if TYPE_CHECKING:
    from pathlib import Path


def tokens_hash(folder: "Path") -> str:
    """Return the hex sha256 over train.arrow and, where there is one, val.arrow."""
    return sha256_of([sha256(file) for file in sorted(folder.glob("*.arrow"))])


def sample_rows(rows: Any, count: int) -> list[dict[str, Any]]:
    """Return `input_ids` and `labels` of at most `count` rows (of a `TokenRows`, `Packs` or `Stream`), spread over a
    table; of shapes without such labels, every token is taken for learned. Tokens that stand for media are left out."""
    import numpy as np

    if samples := getattr(rows, "samples", None):
        return [{"input_ids": (ids := row["input_ids"]), "labels": row.get("labels", ids)} for row in samples[:count]]
    table: TokenRows = rows.rows if isinstance(rows, Packs) else rows
    sample = []
    for number in np.unique(np.linspace(0, len(table) - 1, count).astype(int)).tolist():
        ids, labels, is_text = table.ids(number), table[number].get("labels"), ~table.is_medium(number)
        if labels is None or np.shape(labels) != ids.shape:
            labels = ids
        sample.append({"input_ids": ids[is_text], "labels": labels[is_text]})
    return sample


class Packs:
    """A map-style dataset of packs: lists of rows that together have at most `length` tokens.

    Raises:
        ConfigError: a row is longer than a pack.
    """

    def __init__(self, rows: TokenRows, length: int | None, strategy: str) -> None:
        import numpy as np

        longest = int(rows.lengths.argmax())
        self.rows, self.length = rows, length or int(rows.lengths[longest])
        self.weighted = rows.weighted
        if rows.lengths[longest] > self.length:
            raise ConfigError(
                f"packing_length: {rows.origin(longest)} has {rows.lengths[longest]} tokens and a pack holds "
                f"{self.length}; raise --packing_length to {rows.lengths[longest]} or lower --max_length"
            )
        self._order, self._bounds = pack(rows.lengths, self.length, strategy)
        self.lengths = np.add.reduceat(rows.lengths[self._order], self._bounds[:-1])

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> list[TokenRow]:
        return [self.rows[i] for i in self._members(index)]

    def _members(self, index: int) -> list[int]:
        return self._order[self._bounds[index] : self._bounds[index + 1]].tolist()

    def origins(self, index: int) -> list[str]:
        """Return where the rows of a pack come from."""
        return [self.rows.origin(i) for i in self._members(index)]

    @property
    def fill(self) -> float:
        """Share of the packs' tokens that are rows."""
        return float(self.lengths.sum() / (len(self) * self.length))

    def __str__(self) -> str:
        """What the user must know to choose the batch: a step takes packs, not rows."""
        return (
            f"{len(self.rows)} rows in {len(self)} packs of {self.length} tokens, {self.fill:.1%} full; a pack has "
            f"{len(self.rows) / len(self):.0f} rows on average"
        )


class Filled:
    """A dataset with one more item at its end: a row of which nothing is learned. The item fills batches up to equal
    numbers for all processes, and changes no loss."""

    def __init__(self, dataset: Any, blank: TokenRow) -> None:
        self.dataset, self.blank = dataset, blank

    def __len__(self) -> int:
        return len(self.dataset) + 1

    def __getitem__(self, index: int) -> Any:
        if index < len(self.dataset):
            return self.dataset[index]
        row = {name: value.copy() if hasattr(value, "copy") else value for name, value in self.blank.items()}
        return [row] if isinstance(self.dataset, Packs) else row


class Shuffled:
    """A sampler whose order depends on (seed, epoch) alone, so that a run can be resumed; the same as accelerate's.

    Args:
        count: items of the dataset.
        seed: of the order.
        multiple: the order is filled up to a multiple of it with the index `count`, the blank item.
    """

    def __init__(self, count: int, seed: int, multiple: int = 1) -> None:
        self.count, self.seed, self.epoch = count, seed, 0
        self.blanks = -count % multiple

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which decides the order; accelerate calls this before each pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count + self.blanks

    def __iter__(self) -> Iterator[int]:
        import torch

        order = torch.Generator().manual_seed(self.seed + self.epoch)
        yield from torch.randperm(self.count, generator=order).tolist()
        yield from [self.count] * self.blanks
