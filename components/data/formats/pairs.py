"""Two texts: such as belong together, for embeddings, and such as are judged together, for embeddings and classifiers.

sentence-transformers' columns (https://sbert.net/docs/sentence_transformer), those of GLUE's sets of pairs, and
ms-swift's messages beside `positive_messages` and `negative_messages`.
"""

import re
from collections.abc import Collection
from typing import Any

from components import rows
from components.data.formats._columns import CLASSES, Columns
from components.data.normalize import Media, describe, extra, messages_of, refuse_media, text

ACCEPTS = (
    "anchor or query + positive (+ negative), sentence1 + sentence2 (+ score or label), premise + hypothesis + label, "
    "messages + positive_messages"
)
_FIRSTS = ("anchor", "query", "prompt", "question", "problem", "sentence", "text", "messages")
_POSITIVES = ("positive", "positive_messages")
_PAIRS = (
    ("sentence1", "sentence2"), ("sentence_A", "sentence_B"), ("premise", "hypothesis"), ("question1", "question2"),
    ("text1", "text2"),
)  # fmt: skip
_JUDGED_PAIRS = (("question", "sentence"), ("question", "passage"), ("query", "passage"), ("query", "document"))
"""Columns that are a pair beside a label, and may be anything without one."""
_NEGATIVE = re.compile(r"negatives?(_\d+)?|negative_messages")
_SCORES = ("score", "similarity_score")
_LABELS = (*CLASSES, "is_duplicate")


def readings(columns: Collection[str]) -> list[Columns]:
    """Two texts, and beside them what is unlike, how alike the two are, or their label."""
    labels = [name for name in _LABELS if name in columns][:1]
    beside = [name for name in columns if name in _SCORES or _NEGATIVE.fullmatch(name)] + labels
    pairs = [*((first, second) for first in _FIRSTS for second in _POSITIVES), *_PAIRS, *_JUDGED_PAIRS * len(labels)]
    return [(*pair, *sorted(beside)) for pair in pairs if {*pair} <= {*columns}]


def read(raw: dict[str, Any], columns: Columns) -> rows.Row:
    """The anchor as a user's message, and in `extra` the texts `positive` and `negative` (a list).

    A pair that is judged has both texts in the message, a line each, and in `extra` also the `anchor`, and the `score`
    or the `label`. A list of positives gives its first, as ms-swift takes it.
    """
    first, second, *others = columns
    beside = [name for name in others if raw[name] or raw[name] == 0]
    anchor, positive = _texts(raw[first], first)[0], _texts(raw[second], second)[0]
    negatives = [one for name in beside if _NEGATIVE.fullmatch(name) for one in _texts(raw[name], name)]
    judgement = {"score" if name in _SCORES else "label": raw[name] for name in beside if name in (*_SCORES, *_LABELS)}
    texts: dict[str, Any] = {"positive": positive} | ({"negative": negatives} if negatives else {})
    if not judgement:
        return {"prompt": [{"role": "user", "content": anchor}], "extra": texts}
    both = f"{anchor}\n{positive}"
    return {"prompt": [{"role": "user", "content": both}]} | extra({"anchor": anchor, **texts, **judgement}, "")


def _texts(value: Any, column: str) -> list[str]:
    """Return the texts of a column: one, a list of them, messages, or a list of messages."""
    if isinstance(value, str):
        return [text({column: value}, column)]
    if not isinstance(value, list) or not value:
        raise ValueError(f"'{column}' must be a text or a list of texts, not {describe(value)}")
    if isinstance(value[0], dict):
        media: Media = {}
        texts = ["\n".join(message["content"] for message in messages_of(value, column, media))]
        refuse_media(media, column)
        return texts
    return [one for part in value for one in _texts(part, column)]
