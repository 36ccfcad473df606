"""Tokens that arrive while they are trained on, as a dataset that is read in order.

A checkpoint holds stream.json: the state that the current chunk of tokens began with, and how many rows (or packs) of
the chunk were trained on. Of several processes rank 0 reads the source and sends every chunk to all; each process takes
the items that are its own.
"""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components.config.groups.train import Train
from components.files import read_json, write_json
from components.tokens import TokenRow, TokenRows
from components.training import ranks
from components.training.checkpoints import step_of
from components.training.packing import pack

if TYPE_CHECKING:
    import pyarrow as pa

POSITION_FILE = "stream.json"
State = dict[str, Any]
"""Plain JSON that says where a chunk begins."""
SAMPLE_ROWS = 32
"""Rows that are kept aside, for first values of a tuner and checks of the model."""


class Chunk(NamedTuple):
    """Token rows of the shape `sft`, the `number`-th chunk since the data began, in pass `epoch` over the data (both
    from 0). The source gives the same chunk again when it begins from `state`."""

    rows: "pa.RecordBatch"
    number: int
    epoch: int
    state: State


class _Items(NamedTuple):
    """A chunk of late: the number of its first item in the run, its state and rows, and the rows in each of its
    items."""

    first: int
    state: State
    table: TokenRows
    members: list[list[int]]


class Stream:
    """The rows, or packs of rows, of `max_steps` steps as a dataset whose items are taken in order of their numbers.

    Args:
        source: gives all chunks from a state on, for ever; from the first one where the state is None.
        params: the settled parameters of training.
        shuffle: mix the rows (or packs) of a chunk, which lie by length or as the pieces of one document.

    Attributes:
        epoch: the current pass over the data, from 0.
        packed: what the user must know to choose the batch, since a step takes packs and not rows.
        samples: the first rows, for first values of a tuner and to check the model on.
    """

    weighted = True

    def __init__(self, source: Callable[[State | None], Iterator[Chunk]], params: Train, shuffle: bool) -> None:
        self.source, self.params = source, params
        self.shuffle = shuffle or (params.packing and params.packing_strategy == "binpack")
        self.items_per_step = params.per_device_train_batch_size * (params.gradient_accumulation_steps or 1)
        self.epoch = 0
        self.packed = ""
        self.samples: list[TokenRow] = []

    def begin(self, checkpoint: Path | None) -> None:
        """Go to where the checkpoint was written, or to the beginning, and wait for the first tokens."""
        position: State = read_json(checkpoint / POSITION_FILE) if checkpoint else {"chunk": None, "item": 0}
        self._chunks = ranks.of_first(self.source(position["chunk"]))
        self._recent: deque[_Items] = deque()
        self._end = (step_of(checkpoint) * self.items_per_step if checkpoint else 0) - position["item"]
        while not self.samples:
            self._next_chunk()

    def __len__(self) -> int:
        return self.params.max_steps * self.items_per_step

    def __getitem__(self, index: int) -> Any:
        # All processes take the chunks of a step before its first item, whichever of its items are their own.
        step = index // self.items_per_step + 1
        while self._end < step * self.items_per_step:
            self._next_chunk()
        items = self._items_with(index)
        rows = [items.table[i] for i in items.members[index - items.first]]
        return rows if self.params.packing else rows[0]

    def _next_chunk(self) -> None:
        chunk = next(self._chunks)
        table = TokenRows(chunk.rows)
        self.samples = self.samples or [table[i] for i in range(min(SAMPLE_ROWS, len(table)))]
        members = self._members_of(table, chunk.number)
        self._recent.append(_Items(self._end, chunk.state, table, members))
        self._end += len(members)
        self.epoch = chunk.epoch
        # The trainer has taken at most a step and a batch more than it has trained on.
        while len(self._recent) > 2 and self._recent[1].first + 2 * self.items_per_step < self._recent[-1].first:
            self._recent.popleft()

    def _items_with(self, index: int) -> _Items:
        """Return the chunk of late that has an item, by the item's number in the run."""
        return next(items for items in reversed(self._recent) if items.first <= index)

    def _members_of(self, table: TokenRows, number: int) -> list[list[int]]:
        """Return the numbers of the rows in each item of the `number`-th chunk, in the order of the items."""
        import numpy as np

        members = [[i] for i in range(len(table))]
        if self.params.packing and members:
            length = self.params.packing_length or 0
            order, bounds = pack(table.lengths, length, self.params.packing_strategy)
            members = [order[start:end].tolist() for start, end in pairwise(bounds.tolist())]
            self.packed = self.packed or (
                f"packs of {length} tokens, the first {len(members)} "
                f"{table.lengths.sum() / len(members) / length:.1%} full; "
                f"a pack has {len(table) / len(members):.0f} rows on average"
            )
        if self.shuffle:
            order = np.random.default_rng([self.params.seed, number]).permutation(len(members))
            members = [members[i] for i in order]
        return members

    def origins(self, index: int) -> list[str]:
        """Return where the rows of one of the last items come from, by its number in the run."""
        items = self._items_with(index)
        return [items.table.origin(i) for i in items.members[index - items.first]]

    def write_position(self, checkpoint: Path) -> None:
        """Write into the folder of a checkpoint where in the data its step ends."""
        end = step_of(checkpoint) * self.items_per_step
        items = self._items_with(end)
        write_json(checkpoint / POSITION_FILE, {"chunk": items.state, "item": end - items.first})
