"""Each medium of the row was found, and its file is still what it was then."""

from collections.abc import Iterator

from components.data.checks import Batch, Context, Failure
from components.data.checks._media import inspected


def check_rows(batch: Batch, context: Context) -> Iterator[Failure]:
    """A path without a file, an address that is not read or not to be downloaded, a file that has changed since."""
    for i, references in batch.media.items():
        if one := next((one for one in references if one.problem), None):
            yield Failure(i, f"{one.name}: {one.problem}", one.medium.path)
    for i, name, medium, facts in inspected(batch, context):
        if facts.missing:
            yield Failure(i, f"{name}: {facts.missing}", medium.path)
