"""Tool calls: how much of the expected calls an answer makes, from 0 to 1 (after Qian et al. 2025, "ToolRL: Reward is
All Tool Learning Needs").

A call of the right name is worth 0.5, and its arguments another 0.5 times the share that is equal among all that either
call has. The sum over the pairs that match best is divided by the greater number of calls: one too many or too few
costs. Where no call is expected, none is 1 and any is 0. The order of calls and of arguments does not count.
"""

import json
from collections.abc import Sequence
from typing import Any

from components.config import Params
from components.rewards._sample import Sample

COLUMNS = ("tool_calls",)
Call = tuple[str, dict[str, Any]]


def rewards(samples: Sequence[Sample], params: Params) -> list[float | None]:  # noqa: ARG001
    """Return the share of the expected calls, None where the row says of none."""
    return [_share(sample) for sample in samples]


def _share(sample: Sample) -> float | None:
    column = sample.columns.get("tool_calls")
    if column is None:
        return None
    expected = [_expected(call) for call in _read(column)]
    made = [_made(call) for message in sample.messages for call in message.get("tool_calls") or []]
    if not expected or not made:
        return float(len(expected) == len(made))
    most, total = max(len(expected), len(made)), 0.0
    while expected and made:
        best, call, other = max(((_alike(a, b), a, b) for a in expected for b in made), key=lambda pair: pair[0])
        total += best
        expected.remove(call)
        made.remove(other)
    return total / most


def _read(column: Any) -> list[Any]:
    """Return the column's calls, which may stand as JSON or without a list round one.

    Raises:
        ValueError: it has none.
    """
    calls = json.loads(column) if isinstance(column, str) else column
    calls = [calls] if isinstance(calls, dict) else calls
    if not isinstance(calls, list):
        raise ValueError(f"column tool_calls: a list of calls, not {str(column)[:80]}")
    return calls


def _expected(call: Any) -> Call:
    """Return name and arguments of `{"function": {"name": …, "arguments": {…}}}` or of the inner object alone.

    Raises:
        ValueError: it is neither.
    """
    function = call.get("function", call) if isinstance(call, dict) else {}
    name, arguments = function.get("name"), function.get("arguments") or {}
    arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ValueError(f"column tool_calls: a call has a name and arguments, not {str(call)[:80]}")
    return name, arguments


def _made(call: Any) -> Call:
    """Return name and arguments of a model's call, which matches nothing if it is malformed."""
    try:
        return _expected(call)
    except ValueError:
        return "", {}


def _alike(one: Call, other: Call) -> float:
    if one[0] != other[0]:
        return 0.0
    names = one[1].keys() | other[1].keys()
    equal = sum(name in one[1] and name in other[1] and _same(one[1][name], other[1][name]) for name in names)
    return 0.5 + 0.5 * (equal / len(names) if names else 1.0)


def _same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are equal; 1 and 1.0 are, 1 and true are not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return one == other and isinstance(one, bool) == isinstance(other, bool)
