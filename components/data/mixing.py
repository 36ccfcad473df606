"""Sampling, splitting and mixing of rows, as int64 indices in NumPy arrays; equal seeds give equal results."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

BLOCK_DRAWS = 1000
"""Draws of datasets that are made at a time."""


def split(
    size: int, count: int | None, ratio: float, seed: int, shuffle: bool = True
) -> "tuple[np.ndarray, np.ndarray]":
    """Return the training and the validation rows of one dataset, by index, each in the dataset's order.

    Args:
        size: rows of the dataset.
        count: rows of both together; None is every row. More than `size` repeats training rows, as ms-swift does; no
            row is ever in both.
        ratio: share of validation rows; at least one, unless it is 0.
        shuffle: sample at random; else take the first rows, the last of them for validation.
    """
    import numpy as np

    count = size if count is None else count
    val_count = min(max(1, int(min(size, count) * ratio)), size - 1, count - 1) if ratio else 0
    order = np.arange(size)
    if not shuffle:
        pool = order[: min(size, count) - val_count]
        validation = order[len(pool) : len(pool) + val_count]
    else:
        if val_count or count % size:
            np.random.default_rng(seed).shuffle(order)
        validation, pool = np.sort(order[:val_count]), order[val_count:]
    repeats, rest = divmod(count - val_count, len(pool))
    return np.concatenate([np.tile(np.sort(pool), repeats), np.sort(pool[:rest])]), validation


def interleaved(parts: "Sequence[np.ndarray]", shares: Sequence[float], seed: int, all_exhausted: bool) -> "np.ndarray":
    """Return the rows of datasets, drawn with the probabilities `shares`, until one dataset is exhausted.

    With `all_exhausted`, until each was exhausted once; a dataset that is exhausted earlier begins again. The draws
    are those of `datasets.interleave_datasets` (Hugging Face).
    """
    import numpy as np

    drawing = draws_of(shares, seed)
    sizes = np.array([len(part) for part in parts])
    blocks: list[np.ndarray] = []
    counts = np.zeros(len(parts), np.int64)
    while not (all if all_exhausted else any)(counts >= sizes):
        blocks.append(next(drawing))
        counts += np.bincount(blocks[-1], minlength=len(parts))
    draws = np.concatenate(blocks)
    turns = [np.flatnonzero(draws == number) for number in range(len(parts))]
    ends = [turn[size - 1] if len(turn) >= size else len(draws) for turn, size in zip(turns, sizes, strict=True)]
    stop = (max if all_exhausted else min)(ends) + 1
    order = np.empty(stop, np.int64)
    for part, turn in zip(parts, turns, strict=True):
        turn = turn[turn < stop]
        order[turn] = part[np.arange(len(turn)) % len(part)]
    return order


def draws_of(shares: Sequence[float], seed: int) -> "Iterator[np.ndarray]":
    """Yield the numbers of the datasets that give the next rows, in arrays of `BLOCK_DRAWS`, without end."""
    import numpy as np

    generator = np.random.default_rng(seed)
    chances = np.array(shares) / np.sum(shares)
    while True:
        yield generator.choice(len(shares), size=BLOCK_DRAWS, p=chances).astype(np.int32)


def shuffled(order: "np.ndarray", seed: int) -> "np.ndarray":
    """Shuffle the array `order` in place, and return it."""
    import numpy as np

    np.random.default_rng(seed).shuffle(order)
    return order
