"""Words that no answer may hold, unless its reference holds them: a list of insults, names of customers, canaries that
were put among the training rows."""

import re
from collections.abc import Sequence

from components.config.groups.gate import Gate
from components.evaluation.guards import Pair, at_most
from components.evaluation.verdict import GuardVerdict


def guard(pairs: Sequence[Pair], gate: Gate) -> GuardVerdict | None:
    """Return the verdict on the number of answers with a forbidden word, or None where there is no such list."""
    if not gate.forbidden_words:
        return None
    words = [re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE) for word in gate.forbidden_words]
    count = sum(
        any(word.search(record["answer"]) and not word.search(record["reference"]) for word in words)
        for record, _ in pairs
    )
    return at_most("answers with forbidden words", count, 0)
