"""Of the unpaired preferences, at least min_label_share are good and as many bad."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.data.checks import ALL, Batch, Context, Failure, Roster

if TYPE_CHECKING:
    import numpy as np

KEPT = "i1"


def keep(batch: Batch, _: Context) -> "np.ndarray":
    """1 for a good answer, 0 for a bad one, -1 where there is no label."""
    import numpy as np
    import polars as pl

    label: pl.Series = pl.from_arrow(batch.arrow.column("label"))  # type: ignore[assignment]
    return label.cast(pl.Int8).fill_null(-1).to_numpy().astype(np.int8)


def judge(file: Path, roster: Roster, context: Context) -> Iterator[Failure]:
    """The training rows as a whole: no single row is at fault."""
    import numpy as np

    kept = np.fromfile(file, KEPT)[roster.of("train")][roster.alive[roster.of("train")]]
    good, bad = int((kept == 1).sum()), int((kept == 0).sum())
    least = context.validation.min_label_share
    if good + bad and min(good, bad) < least * (good + bad):
        yield Failure(ALL, f"{good:,} answers are good and {bad:,} bad: one of both has less than {least:.0%}")
