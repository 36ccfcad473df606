"""Which rows, in which order: the same seed gives the same ones. Rows are int64 indices in numpy arrays."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

BLOCK = 1000


def split(
    size: int, wanted: int | None, ratio: float, seed: int, shuffle: bool = True
) -> "tuple[np.ndarray, np.ndarray]":
    """Choose the training and the validation rows of one dataset, by index, each in the dataset's order.

    `wanted` rows are taken in all (None: every row), a share `ratio` of them for validation, at least one. More rows
    than there are repeats them, as ms-swift does, but no row is ever in both: validation rows are set aside first.
    Without `shuffle` the first rows are taken, and the last of them are for validation.
    """
    import numpy as np

    wanted = size if wanted is None else wanted
    held = min(max(1, int(min(size, wanted) * ratio)), size - 1, wanted - 1) if ratio else 0
    order = np.arange(size)
    if not shuffle:
        pool = order[: min(size, wanted) - held]
        validation = order[len(pool) : len(pool) + held]
    else:
        if held or wanted % size:
            np.random.default_rng(seed).shuffle(order)
        validation, pool = np.sort(order[:held]), order[held:]
    repeats, rest = divmod(wanted - held, len(pool))
    return np.concatenate([np.tile(np.sort(pool), repeats), np.sort(pool[:rest])]), validation


def interleaved(parts: "Sequence[np.ndarray]", shares: Sequence[float], seed: int, all_exhausted: bool) -> "np.ndarray":
    """Draw from the datasets with the probabilities `shares`, the next row of the one drawn, until one is exhausted.

    With `all_exhausted` until each was exhausted once; those that are exhausted before begin again. The draws are
    those of `datasets.interleave_datasets` (Hugging Face).
    """
    import numpy as np

    drawing = draws_of(shares, seed)
    sizes = np.array([len(part) for part in parts])
    blocks: list[np.ndarray] = []
    drawn = np.zeros(len(parts), np.int64)
    while not (all if all_exhausted else any)(drawn >= sizes):
        blocks.append(next(drawing))
        drawn += np.bincount(blocks[-1], minlength=len(parts))
    draws = np.concatenate(blocks)
    places = [np.flatnonzero(draws == number) for number in range(len(parts))]
    ends = [place[size - 1] if len(place) >= size else len(draws) for place, size in zip(places, sizes, strict=True)]
    stop = (max if all_exhausted else min)(ends) + 1
    order = np.empty(stop, np.int64)
    for part, place in zip(parts, places, strict=True):
        kept = place[place < stop]
        order[kept] = part[np.arange(len(kept)) % len(part)]
    return order


def draws_of(shares: Sequence[float], seed: int) -> "Iterator[np.ndarray]":
    """Which dataset gives the next row, drawn for ever, in arrays of 1000."""
    import numpy as np

    generator = np.random.default_rng(seed)
    chances = np.array(shares) / np.sum(shares)
    while True:
        yield generator.choice(len(shares), size=BLOCK, p=chances).astype(np.int32)


def shuffled(order: "np.ndarray", seed: int) -> "np.ndarray":
    """The same rows in a random order; `order` itself is shuffled."""
    import numpy as np

    np.random.default_rng(seed).shuffle(order)
    return order
