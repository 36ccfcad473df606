"""Tables of `martlet registry`: versions, one version, two versions side by side, the journal."""

from collections.abc import Iterable, Sequence
from typing import Any

from apps.cli.listing import console
from components.registry import Entry, Listing
from components.texts import size
from tasks.versions import Difference, Facts

FILE_WIDTH = 240
"""Columns of a table where there is no terminal to be as wide as."""


def show_list(listings: Iterable[Listing]) -> None:
    """Print a line for each version."""
    rows = [
        (
            str(listing.number),
            ", ".join(listing.aliases),
            listing.variant,
            f"{listing.created:%Y-%m-%d %H:%M}",
            ", ".join(f"{name} {score:.1%}" for name, score in listing.scores.items()),
            listing.tags.get("gate", ""),
            _size(listing),
        )
        for listing in listings
    ]
    _print_table(("version", "aliases", "variant", "date (UTC)", "scores", "verdict", "size"), rows)


def _size(listing: Listing) -> str:
    if listing.size is not None:
        return size(listing.size)
    return "gone" if listing.folder else "elsewhere"


def show_facts(facts: Facts) -> None:
    """Print what is known of a version, section by section."""
    for section, values in facts.items():
        if values:
            print(section)
            width = max(map(len, values))
            for name, value in values.items():
                print(f"  {name:<{width}}  {_text(section, name, value)}".rstrip())


def show_differences(first: Facts, second: Facts, rows: Sequence[Difference]) -> None:
    """Print a line for each fact that differs."""
    titles = [f"version {facts['version']['number']}" for facts in (first, second)]
    if not rows:
        print(f"{titles[0]} and {titles[1]} have the same lineage, parameters, scores and verdict")
        return
    texts = [
        (row.section, row.name, *(_text(row.section, row.name, value) for value in (row.first, row.second)))
        for row in rows
    ]
    _print_table(("", "", *titles), texts)


def show_history(entries: Iterable[Entry]) -> None:
    """Print the journal, a line for each move."""
    rows = [
        (
            str(entry.number),
            entry.time.removesuffix("+00:00").replace("T", " "),
            entry.action,
            "" if entry.action == "damaged" else f"{entry.before or 'none'} → {entry.version or 'none'}",
            entry.by,
            entry.why,
            entry.verdict,
        )
        for entry in entries
    ]
    _print_table(("line", "time (UTC)", "move", "champion", "by", "why", "verdict"), rows)


def _text(section: str, name: str, value: Any) -> str:
    if value is None:
        return "–"
    if section == "scores":
        return f"{value:.1%}"
    if section == "files" or name == "bytes":
        return size(value)
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _print_table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    console(FILE_WIDTH).print(table)
