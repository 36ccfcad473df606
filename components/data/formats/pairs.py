"""Texts that belong together, for embeddings: sentence-transformers' columns (https://sbert.net/docs/sentence_transformer),
and ms-swift's messages beside `positive_messages` and `negative_messages`."""

from collections.abc import Collection
from typing import Any

from components import rows
from components.data.formats._columns import Columns
from components.data.normalize import describe, messages_of, text

ACCEPTS = "anchor + positive (+ negative), sentence1 + sentence2 + score, messages + positive_messages"
_FIRST = {"anchor": "positive", "sentence1": "sentence2", "messages": "positive_messages"}
_OTHERS = ("negative", "negatives", "negative_messages")
_SCORES = ("score", "similarity_score", "label")


def readings(columns: Collection[str]) -> list[Columns]:
    """Two texts, and beside them what is unlike, or how alike the two are."""
    beside = [name for name in (*_OTHERS, *_SCORES) if name in columns]
    return [(first, second, *beside) for first, second in _FIRST.items() if first in columns and second in columns]


def read(raw: dict[str, Any], columns: Columns) -> rows.Row:
    """The anchor as a user's message, and in `extra` the texts `positive`, `negative` (a list) and the `score`.

    A list of positives gives its first, as ms-swift takes it.
    """
    first, second, *beside = columns
    negatives = [one for name in beside if name in _OTHERS for one in _texts(raw[name], name)]
    scores = [_score(raw[name], name) for name in beside if name in _SCORES]
    extra = {"positive": _texts(raw[second], second)[0]}
    extra |= {"negative": negatives} if negatives else {}
    extra |= {"score": scores[0]} if scores else {}
    return {"prompt": [{"role": "user", "content": _texts(raw[first], first)[0]}], "extra": extra}


def _texts(value: Any, column: str) -> list[str]:
    """Return the texts of a column: one, a list of them, messages, or a list of messages."""
    if isinstance(value, str):
        return [text({column: value}, column)]
    if not isinstance(value, list) or not value:
        raise ValueError(f"'{column}' must be a text or a list of texts, not {describe(value)}")
    if isinstance(value[0], dict):
        return ["\n".join(message["content"] for message in messages_of(value, column, {}))]
    return [one for part in value for one in _texts(part, column)]


def _score(value: Any, column: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"'{column}' must be a number from 0 to 1, how alike the two are, not {describe(value)}")
    return float(value)
