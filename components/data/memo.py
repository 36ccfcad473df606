"""Remember what took long to find out: the hash of a large file, the commit of a hub's branch."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from components.files import read_json, write_json


def remember(memo: Path, key: str, stamp: Any, compute: Callable[[], Any]) -> Any:
    """Return what `compute()` gave when `key` last had this `stamp` (both JSON-able); `memo` is the file that knows."""
    try:
        known = read_json(memo)
    except (OSError, ValueError):
        known = {}
    if key in known and known[key]["stamp"] == stamp:
        return known[key]["value"]
    value = compute()
    write_json(memo, known | {key: {"stamp": stamp, "value": value}})
    return value
