"""Tokens that come while they are trained on, as a dataset that is read in order.

A checkpoint holds stream.json: what the chunk of tokens that was being read was begun with, and how many rows (or
packs) of it were trained on.
"""

from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components.config.groups.train import Train
from components.files import read_json, write_json
from components.training.checkpoints import step_of
from components.training.packing import pack
from components.training.rows import Row

if TYPE_CHECKING:
    import numpy as np

POSITION = "stream.json"
State = dict[str, Any]
"""Plain JSON that says where a chunk is begun."""
SAMPLES = 4


class Chunk(NamedTuple):
    """Tokens of some rows: `ids`, `labels` (int32) and `weights` (float32) of all, one row after the other.

    Those of row `i` are at `offsets[i]:offsets[i + 1]`. From `state` on the source gives this chunk again: it is the
    `number`-th since the data began, in pass `epoch` over them, both from 0.
    """

    ids: "np.ndarray"
    labels: "np.ndarray"
    weights: "np.ndarray"
    offsets: "np.ndarray"
    number: int
    epoch: int
    state: State


class Stream:
    """The rows, or packs of rows, of `max_steps` steps as a dataset whose items are taken in order.

    Args:
        source: gives the chunks from a state on, or all, for ever.
        params: with everything that is settled.
        shuffle: mix the rows (or packs) of a chunk, which lie by length or as the pieces of one document.
        validation: a file of tokens to evaluate on.
    """

    weighted = True

    def __init__(
        self,
        source: Callable[[State | None], Iterator[Chunk]],
        params: Train,
        shuffle: bool,
        validation: Path | None = None,
    ) -> None:
        self.source, self.params, self.validation = source, params, validation
        self.shuffle = shuffle or (params.packing and params.packing_strategy == "binpack")
        self.together = params.per_device_train_batch_size * (params.gradient_accumulation_steps or 1)
        self.epoch = 0
        """The pass over the data that is under way, from 0."""
        self.packed = ""
        """What the user must know to choose the batch: a step takes packs, not rows."""
        self.samples: list[Row] = []
        """The first rows, to try the model on."""

    def begin(self, checkpoint: Path | None) -> None:
        """Go to where the checkpoint was written, or to the beginning, and wait for the first tokens."""
        saved: State = read_json(checkpoint / POSITION) if checkpoint else {"chunk": None, "item": 0}
        self._chunks = self.source(saved["chunk"])
        self._marks: deque[tuple[int, State]] = deque()
        self._end = (step_of(checkpoint) * self.together if checkpoint else 0) - saved["item"]
        self._current: Iterator[Any] = iter(())
        while not self.samples:
            self._next_chunk()
        for _ in range(saved["item"]):
            self._take()

    def __len__(self) -> int:
        return self.params.max_steps * self.together

    def __getitem__(self, index: int) -> Any:
        return self._take()

    def _take(self) -> Any:
        while (item := next(self._current, None)) is None:
            self._next_chunk()
        return item

    def _next_chunk(self) -> None:
        chunk = next(self._chunks)
        items = self._items(chunk)
        self._marks.append((self._end, chunk.state))
        self._end += len(items)
        self.epoch = chunk.epoch
        self._current = iter(items)
        # The trainer is at most the batches of a step and one more behind what it has taken.
        while len(self._marks) > 2 and self._marks[1][0] + 2 * self.together < self._marks[-1][0]:
            self._marks.popleft()

    def _items(self, chunk: Chunk) -> list[Any]:
        import numpy as np

        columns = {"input_ids": chunk.ids, "labels": chunk.labels, "loss_scale": chunk.weights}
        rows = [{n: c[start:end] for n, c in columns.items()} for start, end in pairwise(chunk.offsets.tolist())]
        self.samples = self.samples or rows[:SAMPLES]
        items: list[Any] = rows
        if self.params.packing and rows:
            length = self.params.packing_length or 0
            order, bounds = pack(np.diff(chunk.offsets), length, self.params.packing_strategy)
            items = [[rows[i] for i in order[start:end]] for start, end in pairwise(bounds.tolist())]
            self.packed = self.packed or (
                f"packs of {length} tokens, the first {len(items)} {len(chunk.ids) / len(items) / length:.1%} full; "
                f"a pack has {len(rows) / len(items):.0f} rows on average"
            )
        if self.shuffle:
            order = np.random.default_rng([self.params.seed, chunk.number]).permutation(len(items))
            items = [items[i] for i in order]
        return items

    def write_position(self, checkpoint: Path) -> None:
        """Note in the folder of a checkpoint where in the data its step ends."""
        at = step_of(checkpoint) * self.together
        first, state = next(mark for mark in reversed(self._marks) if mark[0] <= at)
        write_json(checkpoint / POSITION, {"chunk": state, "item": at - first})
