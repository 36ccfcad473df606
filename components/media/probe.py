"""Token rows with media as a model reads them one at a time: for what compares two models on a few rows."""

from typing import TYPE_CHECKING, Any

from components.media.kinds import Medium
from components.media.processor import MediaProcessor
from components.tokens import TokenRow, TokenRows

if TYPE_CHECKING:
    import torch

SEARCHED_ROWS = 512
"""Rows among which one with media is looked for."""


def media_in(references: list[dict[str, Any]]) -> list[Medium]:
    """Return the media of a token row's column `media`."""
    return [
        Medium(r["kind"], r["path"], r["sha256"], tuple(Medium(f["kind"], f["path"], f["sha256"]) for f in r["frames"]))
        for r in references
    ]


def features_of(references: list[dict[str, Any]], processor: MediaProcessor) -> "dict[str, torch.Tensor]":
    """Return the features of the media of a token row.

    Raises:
        MediaError: a medium cannot be read.
    """
    return processor.features(media_in(references), [reference["placeholder"] for reference in references])


def first_with_media(rows: TokenRows) -> TokenRow | None:
    """Return ids and media of the first row that has media, up to the token behind the last of them; None where the
    first rows have none."""
    for number in range(min(len(rows), SEARCHED_ROWS)):
        row = rows[number]
        if row.get("media"):
            end = max(reference["start"] + reference["length"] for reference in row["media"])
            return {"input_ids": rows.ids(number)[: end + 1], "media": row["media"]}
    return None


def model_inputs(row: TokenRow, processor: MediaProcessor) -> "dict[str, torch.Tensor]":
    """Return what a model gets for a row with media: `input_ids` [1, tokens], the kinds of tokens, and the features.

    Raises:
        MediaError: a medium cannot be read.
    """
    import torch

    ids = [row["input_ids"].tolist()]
    types = processor.types(ids, [[False] * len(ids[0])])
    named = {name: torch.tensor(values) for name, values in {"input_ids": ids, **types}.items()}
    return {**named, **features_of(row["media"], processor)}
