"""Of the unpaired preferences, at least min_label_share are good and as many bad."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from components.data.checks import ALL, Batch, Context, Failure
from components.data.row_index import RowIndex

if TYPE_CHECKING:
    import numpy as np

RECORD = "i1"


def records(batch: Batch, _: Context) -> "np.ndarray":
    """Return 1 for a good answer, 0 for a bad one, -1 where there is no label."""
    import numpy as np
    import polars as pl

    label: pl.Series = pl.from_arrow(batch.arrow.column("label"))  # type: ignore[assignment]
    return label.cast(pl.Int8).fill_null(-1).to_numpy().astype(np.int8)


def check_set(file: Path, rows: RowIndex, context: Context) -> Iterator[Failure]:
    """Yield one failure of all training rows together."""
    import numpy as np

    labels = np.fromfile(file, RECORD)[rows.of("train")][rows.clean[rows.of("train")]]
    good, bad = int((labels == 1).sum()), int((labels == 0).sum())
    min_share = context.validation.min_label_share
    if good + bad and min(good, bad) < min_share * (good + bad):
        yield Failure(ALL, f"{good:,} answers are good and {bad:,} bad: one of both has less than {min_share:.0%}")
