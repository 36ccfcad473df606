"""The row has at most max_chars characters."""

from collections.abc import Iterator

from components.data.checks import Batch, Context, Failure


def check_rows(batch: Batch, context: Context) -> Iterator[Failure]:
    """All messages count, the system's too."""
    import numpy as np

    limit = context.validation.max_chars
    for i in np.flatnonzero(batch.sizes > limit).tolist():
        yield Failure(i, f"{batch.sizes[i]:,} characters, more than {limit:,}")
