"""Each medium of the row can be read as what it is to be: a picture, a video or a sound."""

from collections.abc import Iterator

from components.data.checks import Batch, Context, Failure
from components.data.checks._media import inspected


def check_rows(batch: Batch, context: Context) -> Iterator[Failure]:
    """No other kind of file, none that is empty, damaged or cut short, no decompression bomb."""
    for i, name, medium, facts in inspected(batch, context):
        if facts.error:
            yield Failure(i, f"{name}: {facts.error}", medium.path)
