"""Show and prune the cache of checked rows and tokens that direct commands share.

  martlet cache                          all entries, the last used first
  martlet cache prune                    remove all entries
  martlet cache prune --unused_for 30    remove entries not used for 30 days

The cache is the folder $MARTLET_CACHE, or ~/.cache/martlet.
"""

import argparse
import time
from typing import Any

from components import cache
from components.errors import ConfigError

PARAMETERS = ()
SECONDS_PER_DAY = 86400.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["show", "prune"], default="show")
    parser.add_argument(
        "--unused_for", type=float, default=0.0, metavar="DAYS", help="keep entries used in the last DAYS"
    )


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    if arguments.unused_for < 0:
        raise ConfigError("--unused_for: days, 0 or more")
    if arguments.action == "show":
        _show()
    else:
        before = sum(entry.size for entry in cache.entries())
        removed = cache.prune(arguments.unused_for * SECONDS_PER_DAY)
        rest = list(cache.entries())
        size = before - sum(entry.size for entry in rest)
        print(f"removed {len(removed)}, {_size(size)}; {len(rest)} left in {cache.root()}")


def _show() -> None:
    from rich.console import Console
    from rich.table import Table

    entries = list(cache.entries())
    if not entries:
        print(f"nothing is kept in {cache.root()}")
        return
    print(f"{cache.root()}: {len(entries)} kept, {_size(sum(entry.size for entry in entries))}")
    table = Table(box=None)
    for column, justify in (("stage", "left"), ("entry", "left"), ("size", "right"), ("used", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    table.add_column("result", overflow="fold")
    for entry in entries:
        result = ", ".join(f"{name.replace('_', ' ')} {value:,}" for name, value in entry.result.items())
        table.add_row(entry.stage, entry.folder.name[:12], _size(entry.size), _ago(entry.used), result)
    Console().print(table)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:,.0f} {unit}" if unit == "B" else f"{count:,.1f} {unit}"
        count /= 1000
    raise AssertionError


def _ago(then: float) -> str:
    minutes = (time.time() - then) / 60
    for name, length in (("days", 1440), ("hours", 60)):
        if minutes >= 2 * length:
            return f"{minutes / length:.0f} {name} ago"
    return "just now" if minutes < 2 else f"{minutes:.0f} minutes ago"
