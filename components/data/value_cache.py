"""Values that take long to compute, such as the hash of a large file or the commit of a branch, kept in a JSON file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.files import read_json, write_json


def cached_value(file: Path, key: str, stamp: Any, compute: Callable[[], Any]) -> Any:
    """Return the value that `file` holds for a key and its stamp; where it holds none, compute and keep it.

    Args:
        stamp: what the value depends on, as JSON.
        compute: returns the value, as JSON.
    """
    try:
        values = read_json(file)
    except (OSError, ValueError):
        values = {}
    if key in values and values[key]["stamp"] == stamp:
        return values[key]["value"]
    value = compute()
    write_json(file, values | {key: {"stamp": stamp, "value": value}})
    return value
