"""Lines about parameters, and about what a stage did."""

import json
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

WHOLE_SET_CHECKS = ("min_rows", "max_dropped", "expectations")
"""Checks in the data report that have no rows of their own."""


def parameter_lines(changes: Mapping[str, tuple[Any, Any]], marked: Container[str] = ()) -> Iterator[str]:
    """Yield a line for each changed parameter: value and default, and a star for the leaf names in `marked`."""
    width = max(map(len, changes), default=0)
    for name, (default, value) in changes.items():
        star = "*" if name.rpartition(".")[2] in marked else " "
        yield f"{star} {name:<{width}}  {_parameter(value)}  (default {_parameter(default)})"


def _parameter(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def result_summary(result: dict[str, Any]) -> str:
    """Return a stage's result as text: `train 985, dropped 14`."""
    values = {name: value for name, value in result.items() if value is not None and name != "cached"}
    parts = (f"{name.replace('_', ' ')} {_value(value)}" for name, value in values.items())
    return ", ".join(parts) + (" (from the cache)" if result.get("cached") else "")


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"({result_summary(value)})"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def gate_summary(checks: Iterable[dict[str, Any]]) -> str:
    """Return the findings of the data gate as text: `left out: duplicate 14; warned of: personal 5`."""
    counts: dict[str, list[str]] = {"left out": [], "warned of": []}
    for check in checks:
        if check["name"] not in WHOLE_SET_CHECKS:
            of_check = {"left out": check["left_out"], "warned of": check["count"] - check["left_out"]}
            for outcome, count in of_check.items():
                counts[outcome] += [f"{check['name']} {count:,}"] if count else []
    return "; ".join(f"{outcome}: {', '.join(names)}" for outcome, names in counts.items() if names)
