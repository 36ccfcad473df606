"""Which rows, in which order: the same seed gives the same ones."""

from random import Random


def split(size: int, wanted: int | None, ratio: float, seed: int) -> tuple[list[int], list[int]]:
    """Choose the training and the validation rows of one dataset, by index, each in the dataset's order.

    `wanted` rows are taken in all (None: every row), a share `ratio` of them for validation, at least one. More rows
    than there are repeats them, as ms-swift does, but no row is ever in both lists: validation rows are set aside
    first.
    """
    wanted = size if wanted is None else wanted
    held = min(max(1, round(wanted * ratio)), size - 1, wanted - 1) if ratio else 0
    order = Random(seed).sample(range(size), size)
    validation, pool = sorted(order[:held]), order[held:]
    repeats, rest = divmod(wanted - held, len(pool))
    return sorted(pool) * repeats + sorted(pool[:rest]), validation


def shuffled(size: int, seed: int) -> list[int]:
    """A permutation of `range(size)`."""
    return Random(seed).sample(range(size), size)
