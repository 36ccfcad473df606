"""What rewards that compare texts share: the reference of an answer, the final part of an answer, and words."""

import re
import unicodedata
from typing import Any

GOLD = ("solution", "answer")
"""Columns of which the first that a row has is the reference."""
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af]|[^\W_]+")
"""A letter of a script that is written without spaces, or a run of letters and digits."""


def gold(columns: dict[str, Any]) -> str:
    """Return the reference as text, "" where a row has none; a list of one is its element."""
    value = next((columns[name] for name in GOLD if columns.get(name) is not None), "")
    value = value[0] if isinstance(value, list) and len(value) == 1 else value
    return str(value).strip() if isinstance(value, str | int | float) else ""


def final(answer: str) -> str:
    """Return what stands behind the thoughts of an answer and within its `<answer>`; "" where the thoughts do not
    end."""
    if "<think>" in answer and "</think>" not in answer:
        return ""
    answer = answer.rpartition("</think>")[2]
    marked = re.findall(r"<answer>(.*?)</answer>", answer, re.DOTALL)
    return (marked[-1] if marked else answer).strip()


def words(text: str) -> list[str]:
    """Return the words of a text, without case, character width and punctuation."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
