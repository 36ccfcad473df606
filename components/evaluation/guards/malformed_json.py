"""The share of answers that are no JSON, among the questions whose reference is a JSON object or list."""

import json
from collections.abc import Sequence

from components.config.groups.gate import Gate
from components.evaluation.guards import Pair, at_most, shares
from components.evaluation.verdict import GuardVerdict


def guard(pairs: Sequence[Pair], gate: Gate) -> GuardVerdict | None:
    """Return the verdict on the share of malformed answers above the baseline's, or None without such questions."""
    structured = [pair for pair in pairs if _is_structured(pair[0]["reference"])]
    if not structured:
        return None
    share, baseline = shares(structured, lambda record: not _is_structured(record["answer"]))
    return at_most("malformed JSON", share, baseline + gate.max_malformed)


def _is_structured(text: str) -> bool:
    text = text.strip().removeprefix("```json").removeprefix("```").removesuffix("```")
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False
