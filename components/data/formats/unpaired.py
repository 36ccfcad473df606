"""Answers judged one by one, for KTO: a conversation in any format, and `label` (LLaMA-Factory's `kto_tag`)."""

from collections.abc import Collection
from typing import Any

from components import rows
from components.data.formats import _answered
from components.data.formats._columns import Columns
from components.data.normalize import describe, split_answer

ACCEPTS = "any of these + label"
_LABELS = {"true": True, "1": True, "false": False, "0": False}


def readings(columns: Collection[str]) -> list[Columns]:
    """Each conversation in the row, with its label."""
    labels = [name for name in ("label", "kto_tag") if name in columns]
    return [(*group, name) for name in labels for group in _answered.readings(columns)]


def read(raw: dict[str, Any], columns: Columns) -> rows.Row:
    """The answer is all that follows the last question."""
    label = _label(raw[columns[-1]], columns[-1])
    row = _answered.read(raw, columns[:-1])
    prompt, completion = split_answer(row.pop("messages"))
    return {"prompt": prompt, "completion": completion, "label": label} | row


def _label(value: Any, column: str) -> bool:
    label = _LABELS.get(value.strip().lower()) if isinstance(value, str) else value
    if label not in (True, False):
        raise ValueError(f"'{column}' must be true or false, whether the answer is a good one, not {describe(value)}")
    return bool(label)
