"""Rows as a model will see them."""

from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from components import data, templates
from components.config import Params
from components.rows import Row, read_batches
from tasks.looking.folder import folder, in_order
from tasks.stages import fetch, template
from tasks.stages.paths import Paths


class Sample(NamedTuple):
    """What is learned in one go: `name` is chosen or rejected for a preference, completion for a judged answer."""

    name: str
    input_ids: list[int]
    labels: list[int]
    weights: list[float]


class Looked(NamedTuple):
    """One row of a dataset: its samples, or why it gives none."""

    source: str
    row: int
    samples: list[Sample]
    refused: str


@contextmanager
def rows(params: Params, workspace: Path) -> "Generator[tuple[Any, Iterator[Looked]]]":
    """Give the tokenizer, and the rows of the datasets in their order, each with what the model would learn.

    The data gate is not asked: rows that it would leave out are shown as well.
    """
    with folder(in_order(params), workspace) as (params, paths):
        fetch.run(params, paths)
        chat = template.chat_template(params, paths)
        asked = params.template  # what is looked at is shown at once, so no other tokenizer may turn out to differ
        encoder = templates.Encoder(chat, asked.max_length, asked.truncation_strategy, fast=False)
        yield chat.tokenizer, _looked(paths, encoder)


def _looked(paths: Paths, encoder: templates.Encoder) -> Iterator[Looked]:
    for batch in read_batches(paths.raw / "train.parquet", batch_size=256):
        read = [_read(raw) for raw in batch.column("raw").to_pylist()]
        parts = [
            (n, name, row) for n, found in enumerate(read) if isinstance(found, dict) for name, row in found.items()
        ]
        outcomes = encoder([row for _, _, row in parts]).listed(len(parts))
        samples: dict[int, list[Sample]] = defaultdict(list)
        refused = {n: found for n, found in enumerate(read) if isinstance(found, str)}
        for (n, name, _), outcome in zip(parts, outcomes, strict=True):
            if isinstance(outcome, templates.Refused):
                refused[n] = f"{outcome.reason}{f': {outcome.detail}' if outcome.detail else ''}"
            else:
                samples[n] += [Sample(name, *encoded) for encoded in outcome]
        places = zip(batch.column("source").to_pylist(), batch.column("row").to_pylist(), strict=True)
        for n, (source, row) in enumerate(places):
            yield Looked(source, row, [] if n in refused else samples[n], refused.get(n, ""))


def _read(raw: str) -> dict[str, Row] | str:
    """The conversations of a row by name; or why no format can read it."""
    import orjson

    try:
        row = data.to_row(orjson.loads(raw))
    except ValueError as error:
        return str(error)
    answers = [name for name in ("chosen", "rejected", "completion") if name in row]
    if not answers:
        return {"": row}
    beside = {key: value for key, value in row.items() if key not in ("prompt", "label", *answers)}
    asked = [{**m, "loss_scale": 0.0} if m["role"] == "assistant" else m for m in row.get("prompt", [])]
    return {name: {**beside, "messages": [*asked, *row[name]]} for name in answers}
