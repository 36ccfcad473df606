"""Rows as a model will see them."""

from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from components import data, templates
from components.classes import printable
from components.config import Params
from components.media import COLUMNS
from components.rows import Row, read_batches
from components.tokens import IGNORED, ShapeName, TokenRow, TokenRows
from tasks.looking.folder import folder, in_order
from tasks.stages import fetch, template
from tasks.stages.paths import Paths

SHAPE_OF: dict[str, ShapeName] = {"chosen": "preference", "completion": "label"}
"""Column of a row to the shape of its tokens; other rows are for sft."""


class Sample(NamedTuple):
    """One sequence of a row.

    Attributes:
        name: chosen or rejected for a preference, completion for a judged answer, or a text's part in a pair.
        target: what the model is to tell of the whole sequence; None where tokens are learned.
    """

    name: str
    input_ids: list[int]
    labels: list[int]
    weights: list[float]
    target: str | None = None


class Looked(NamedTuple):
    """One row of a dataset: its samples, or why it gives none."""

    source: str
    row: int
    samples: list[Sample]
    refused: str


@contextmanager
def rows(params: Params, workspace: Path) -> "Generator[tuple[Any, Iterator[Looked]]]":
    """Give the tokenizer, and the rows of the datasets in their order, each with what the model would learn.

    The data gate is left out: the rows that it would refuse are shown as well.
    """
    with folder(in_order(params), workspace) as (params, paths):
        fetch.run(params, paths)
        with_media = (paths.raw / data.media.LIST).is_file()
        chat = template.chat_template(params, paths, with_media)
        settings = (params.template.max_length, params.template.truncation_strategy)

        @cache
        def encoder(shape: ShapeName) -> templates.Encoder:
            # Rows are shown as they come, so that fastokens, whose ids may turn out wrong later, is not for them.
            return templates.Encoder(chat, shape, *settings, fast=False, weighted=True, media=with_media)

        shape = template.shape(paths)
        yield chat.tokenizer, _looked(paths, encoder, shape if shape in ("classification", "pair") else None)


def _looked(
    paths: Paths, encoder: Callable[[ShapeName], templates.Encoder], shape: ShapeName | None
) -> Iterator[Looked]:
    """Yield the rows of the raw file with their samples of a shape, by default of that which a row's columns have."""
    for batch in read_batches(paths.raw / "train.parquet", batch_size=256):
        source, number = batch.column("source").to_pylist(), batch.column("row").to_pylist()
        refused: dict[int, str] = {}
        by_shape: dict[ShapeName, dict[int, Row]] = defaultdict(dict)
        for n, raw in enumerate(batch.column("raw").to_pylist()):
            row = _canonical(raw)
            if isinstance(row, str):
                refused[n] = row
            else:
                by_shape[shape or _shape_of(row)][n] = row
        samples: dict[int, list[Sample]] = defaultdict(list)
        for name, rows_of_shape in by_shape.items():
            indices = list(rows_of_shape)
            tokens = encoder(name)(
                list(rows_of_shape.values()), [source[n] for n in indices], [number[n] for n in indices]
            )
            refused |= {indices[n]: str(refusal) for n, refusal in tokens.refused.items()}
            token_rows = TokenRows(tokens.tokens)
            for n, owner in enumerate(tokens.owners):
                samples[indices[owner]] += samples_of(token_rows[n])
        for n in range(len(batch)):
            yield Looked(source[n], number[n], samples[n], refused.get(n, ""))


def _canonical(raw: str) -> Row | str:
    """Return the canonical row, or why no format can read it, or why a medium of it is not there."""
    try:
        row = data.read_row(raw)
    except ValueError as error:
        return str(error)
    values = (one for column in COLUMNS.values() for value in row.get(column) or () for one in _parts(value))
    return next((f"{one['path']}: {one['problem']}" for one in values if "problem" in one), row)


def _parts(value: Any) -> list[Any]:
    """Return a medium's reference, or those of a video's frames."""
    return value if isinstance(value, list) else [value]


def _shape_of(row: Row) -> ShapeName:
    """Return the shape of a row's tokens."""
    for column, shape in SHAPE_OF.items():
        if column in row:
            return shape
    return "sft"


def samples_of(row: TokenRow) -> list[Sample]:
    """Return the sequences of a token row, each answer of a preference with the prompt before."""
    import numpy as np

    if "target" in row:
        return [_unlearned("", row["input_ids"], f"label {printable(str(row['target']))}")]
    if "input_ids" in row:
        labels = row["labels"].tolist()
        weights = row["loss_scale"].tolist() if "loss_scale" in row else [float(label != IGNORED) for label in labels]
        return [Sample("", row["input_ids"].tolist(), labels, weights)]
    if "anchor_ids" in row:
        score = "" if row["score"] is None else f"score {row['score']:g}"
        *negatives, _ = np.split(row["negative_ids"], np.cumsum(row["negative_lengths"]))
        texts = [("anchor", row["anchor_ids"]), ("positive", row["positive_ids"])]
        return [_unlearned(name, ids, score) for name, ids in [*texts, *(("negative", ids) for ids in negatives)]]
    prompt = row["prompt_ids"].tolist()
    samples: list[Sample] = []
    for name in ("chosen", "rejected", "completion"):
        if f"{name}_ids" in row:
            labels = [IGNORED] * len(prompt) + row[f"{name}_labels"].tolist()
            weights = [float(label != IGNORED) for label in labels]
            samples.append(Sample(name, prompt + row[f"{name}_ids"].tolist(), labels, weights))
    return samples


def _unlearned(name: str, input_ids: Any, target: str) -> Sample:
    """Return a sequence of which no token is learned."""
    ids = input_ids.tolist()
    return Sample(name, ids, [IGNORED] * len(ids), [0.0] * len(ids), target)
