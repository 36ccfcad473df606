"""What a stage says of itself, in one line."""

from collections.abc import Iterable
from typing import Any

LIMITS = ("min_rows", "max_dropped", "expectations")


def told(result: dict[str, Any]) -> str:
    """A stage's result: `train 985, dropped 14`."""
    shown = {name: value for name, value in result.items() if value is not None and name != "cached"}
    parts = (f"{name.replace('_', ' ')} {_value(value)}" for name, value in shown.items())
    return ", ".join(parts) + (" (from the cache)" if result.get("cached") else "")


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return f"({told(value)})"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def gate(checks: Iterable[dict[str, Any]]) -> str:
    """What the data gate found, check by check: `left out: duplicate 14; warned of: personal 5`. Empty for nothing."""
    said: dict[str, list[str]] = {}
    for check in checks:
        if check["count"] and check["name"] not in LIMITS:
            # What no format can read is left out whatever was asked for.
            warned = check["action"] == "warn" and check["name"] != "schema"
            found = said.setdefault("warned of" if warned else "left out", [])
            found.append(f"{check['name']} {check['count']:,}")
    return "; ".join(f"{what}: {', '.join(names)}" for what, names in said.items())
