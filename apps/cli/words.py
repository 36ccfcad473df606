"""What a stage says of itself, in one line."""

from collections.abc import Iterable
from typing import Any

LIMITS = ("min_rows", "max_dropped", "expectations")


def told(result: dict[str, Any]) -> str:
    """A stage's result: `train 985, dropped 14`."""
    parts = (f"{name.replace('_', ' ')} {_value(value)}" for name, value in result.items() if _says(name, value))
    return ", ".join(parts) + (" (from the cache)" if result.get("cached") else "")


def _says(name: str, value: Any) -> bool:
    return value is not None and name != "cached"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"({told(value)})"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def gate(checks: Iterable[dict[str, Any]]) -> str:
    """What the data gate found, check by check: `left out: duplicate 14; warned of: personal 5`. Empty for nothing."""
    found = {"drop": "left out", "block": "left out", "warn": "warned of"}
    said: dict[str, list[str]] = {}
    for check in checks:
        if check["count"] and check["name"] not in LIMITS:
            said.setdefault(found[check["action"]], []).append(f"{check['name']} {check['count']:,}")
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in said.items())
