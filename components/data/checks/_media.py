"""The facts of the media in a batch, for the checks of what the files hold."""

from collections.abc import Iterator

from components.data.checks import Batch, Context
from components.media import Facts, Medium


def inspected(batch: Batch, context: Context) -> Iterator[tuple[int, str, Medium, Facts]]:
    """Yield row, name, reference and facts of each medium that was found."""
    if context.inspector is None or not batch.media:
        return
    entries = [
        (i, one.name, one.medium) for i, references in batch.media.items() for one in references if not one.problem
    ]
    facts = context.inspector.facts(medium for _, _, medium in entries)
    yield from ((*one, about) for one, about in zip(entries, facts, strict=True))
