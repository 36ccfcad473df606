"""Packing: which rows share a pack, computed from their lengths alone."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


def pack(lengths: "np.ndarray", capacity: int, strategy: str = "binpack") -> "tuple[np.ndarray, np.ndarray]":
    """Put rows of `lengths` tokens [rows], 1 to `capacity` each, into packs of at most `capacity`, every row into one.

    `binpack` is best-fit decreasing: the longest row first, each into the fullest pack that still has room for it.
    `sequential` keeps the order: a pack ends where the next row does not fit.

    Returns `order` [rows] and `bounds` [packs + 1]: pack i holds the rows `order[bounds[i] : bounds[i + 1]]`.
    """
    import numpy as np

    if strategy == "sequential":
        return np.arange(len(lengths)), _next_fit(lengths, capacity)
    order = np.argsort(-lengths, kind="stable")
    packs = _best_fit_decreasing(lengths, capacity)
    bounds = np.concatenate([[0], np.cumsum(np.bincount(packs))])
    return order[np.argsort(packs, kind="stable")], bounds


def _best_fit_decreasing(lengths: "np.ndarray", capacity: int) -> "np.ndarray":
    """Return the pack of each row, rows in the order of falling length.

    Two things make this fast. The free room of all packs is the set bits of one integer: the lowest set bit from a
    length on is the tightest fit. And the tightest pack stays the tightest for rows of the same length, so that as many
    rows as fit go in at once.
    """
    import numpy as np

    packs_with_room: list[list[int]] = [[] for _ in range(capacity + 1)]
    rooms, pack_count = 0, 0
    packs: list[int] = []
    rows_in_packs: list[int] = []
    values, counts = np.unique(lengths, return_counts=True)
    for length, count in zip(values[::-1].tolist(), counts[::-1].tolist(), strict=True):
        while count:
            if fitting := rooms >> length:
                room = length + (fitting & -fitting).bit_length() - 1
                number = packs_with_room[room].pop()
                if not packs_with_room[room]:
                    rooms ^= 1 << room
            else:
                room, number, pack_count = capacity, pack_count, pack_count + 1
            rows = min(count, room // length)
            count -= rows
            packs.append(number)
            rows_in_packs.append(rows)
            if rest := room - rows * length:
                packs_with_room[rest].append(number)
                rooms |= 1 << rest
    return np.repeat(packs, rows_in_packs)


def _next_fit(lengths: "np.ndarray", capacity: int) -> "np.ndarray":
    """Return the bounds [packs + 1] of packs that keep the order of the rows."""
    import numpy as np

    ends = np.cumsum(lengths, dtype=np.int64)
    bounds, before = [0], 0
    while bounds[-1] < len(ends):
        bounds.append(int(np.searchsorted(ends, before + capacity, side="right")))
        before = int(ends[bounds[-1] - 1])
    return np.array(bounds)
