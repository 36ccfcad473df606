"""Words that no answer may hold, unless its reference holds them: a list of insults, names of customers, canaries that
were put among the training rows.

A word or phrase of letters that have capitals is looked for as a whole word. Any other is looked for anywhere: scripts
such as Chinese put nothing between words, and a canary may stand inside of others.
"""

import re
from collections.abc import Sequence

from components.config.groups.gate import Gate
from components.evaluation.guards import Pair, at_most
from components.evaluation.verdict import GuardVerdict


def guard(pairs: Sequence[Pair], gate: Gate) -> GuardVerdict | None:
    """Return the verdict on the number of answers with a forbidden word, or None where there is no such list."""
    if not gate.forbidden_words:
        return None
    words = [_pattern(word.casefold()) for word in gate.forbidden_words]
    count = 0
    for record, _ in pairs:
        answer, reference = record["answer"].casefold(), record["reference"].casefold()
        count += any(word.search(answer) and not word.search(reference) for word in words)
    return at_most("answers with forbidden words", count, 0)


def _pattern(word: str) -> "re.Pattern[str]":
    is_whole = all(letter.isspace() or letter.upper() != letter for letter in word)
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)" if is_whole else re.escape(word))
