"""A row with media has a tag such as <image> in its conversation or text for each of them, and none besides."""

from collections import Counter
from collections.abc import Iterator

from components.data.checks import Batch, Context, Failure
from components.media import COLUMNS, TAGS, tags_in
from components.rows import CONVERSATIONS, Row

ANSWERS = ("chosen", "rejected", "completion")


def check_rows(batch: Batch, _: Context) -> Iterator[Failure]:
    """A row without media may talk of tags as it likes; an answer that is compared with another has none."""
    for i in batch.media:
        if problem := _problem(batch.rows[i]):
            yield Failure(i, problem)


def _problem(row: Row) -> str:
    tags = {name: Counter(tags_in("\n".join(m["content"] for m in row.get(name) or ()))) for name in CONVERSATIONS}
    answer = next((name for name in ANSWERS if tags[name]), None)
    if answer:
        return f"'{answer}' holds the tag {TAGS[next(iter(tags[answer]))]}: media belong into the prompt"
    counts = tags["messages"] + tags["prompt"] + Counter(tags_in(row.get("text") or ""))
    for kind, column in COLUMNS.items():
        media = len(row.get(column) or ())
        if counts[kind] != media:
            return f"{counts[kind]} {TAGS[kind]} {'tag' if counts[kind] == 1 else 'tags'} for {media} {column}"
    return ""
