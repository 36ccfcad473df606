"""A conversation in any format and its label: an answer that is judged, for KTO (LLaMA-Factory's `kto_tag`), or the
class of the whole, for a classifier."""

from collections.abc import Collection
from typing import Any

from components import rows
from components.data.formats import _answered
from components.data.formats._columns import Columns
from components.data.normalize import describe, extra, split_answer

ACCEPTS = "any of these + label"
_LABELS = {"true": True, "1": True, "false": False, "0": False}


def readings(columns: Collection[str]) -> list[Columns]:
    """Each conversation in the row, with its label."""
    labels = [name for name in ("label", "kto_tag") if name in columns]
    return [(*group, name) for name in labels for group in _answered.readings(columns)]


def read(raw: dict[str, Any], columns: Columns) -> rows.Row:
    """The answer, which is all that follows the last question, is a good one or not.

    Any other label is the class of the conversation, and so is the label of a conversation without an answer.
    """
    *own, name = columns
    if name != "label":
        return _judged(_answered.read(raw, tuple(own)), _label(raw[name], name))
    row = _answered.conversation(raw, tuple(own))
    messages = row.get("messages") or row["prompt"]
    media = {key: value for key, value in row.items() if key not in ("messages", "prompt")}
    if messages[-1]["role"] == "assistant" and not _is_class(raw[name]):
        return _judged({"messages": messages, **media}, _label(raw[name], name))
    return {"prompt": messages} | extra({"label": raw[name]}, "") | media


def _judged(row: rows.Row, label: bool) -> rows.Row:
    prompt, completion = split_answer(row.pop("messages"))
    return {"prompt": prompt, "completion": completion, "label": label} | row


def _is_class(label: Any) -> bool:
    if isinstance(label, str):
        return label.strip().lower() not in _LABELS
    return isinstance(label, int | float | list) and label not in (0, 1)


def _label(value: Any, column: str) -> bool:
    label = _LABELS.get(value.strip().lower()) if isinstance(value, str) else value
    if label not in (True, False):
        raise ValueError(f"'{column}' must be true or false, whether the answer is a good one, not {describe(value)}")
    return bool(label)
