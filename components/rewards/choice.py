"""Choice: 1 where the answer names the letter of the right choice, or is the right choice's text; else 0. A row without
reference gets None.

The letter is looked for in `\\boxed{…}`, behind `answer is` or `Answer:`, at the beginning (`B.`, `(B)`), and then as
the last letter that stands alone. An answer that names several choices is not right.
"""

import re
from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from components.config import Params
from components.rewards._sample import Sample
from components.rewards._texts import final, gold
from components.texts import normalized

COLUMNS = ("solution", "answer")
_LETTERS = "[A-Z](?:\\s*(?:,|and)\\s*[A-Z])*"
_PLACES = (
    re.compile(r"\\boxed\{\s*(?:\\text\{)?\(?(" + _LETTERS + r")\)?\}?\s*\}"),
    re.compile(r"(?:answer|choice|option)(?:\s+is|\s*:)\s*\**\(?(" + _LETTERS + r")\)?(?![\w'’])", re.IGNORECASE),
    re.compile(r"\A\W*(" + _LETTERS + r")(?:\W|\Z)(?!\s*[a-z])"),
    re.compile(r"(?<![\w'’])(" + _LETTERS + r")(?![\w'’]|\s+(?!is\b)[a-z])"),
)


def rewards(samples: Sequence[Sample], params: Params) -> list[float | None]:  # noqa: ARG001
    """Return 1 for the right choice, 0 for others, None where there is nothing to compare with."""
    return [_score(sample.columns, final(sample.completion)) for sample in samples]


def _score(columns: dict[str, Any], answer: str) -> float | None:
    reference, choices = gold(columns), columns.get("choices") or []
    if not reference:
        return None
    texts = {normalized(str(text)): letter for letter, text in zip(ascii_uppercase, choices, strict=False)}
    letter = texts.get(normalized(answer)) or chosen_letter(answer)
    return float(letter == texts.get(normalized(reference), reference.upper()))


def chosen_letter(answer: str) -> str:
    """Return the letter that an answer chooses, "" where it names none."""
    for place in _PLACES:
        if letters := place.findall(answer):
            return letters[-1].upper()
    return ""
