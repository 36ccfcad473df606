"""Tables of `martlet registry`: versions, one version, two versions side by side, the journal."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from apps.cli.listing import console
from components.registry import Entry, Listing
from components.texts import count, size
from tasks.versions import Difference, Facts, decision

FILE_WIDTH = 240
"""Columns of a table where there is no terminal to be as wide as."""
HASH_DIGITS = 12
LAST_MOVES = 5


def show_list(listings: Iterable[Listing]) -> None:
    """Print a line for each version."""
    rows = [
        (
            str(listing.number),
            ", ".join(listing.aliases),
            listing.variant,
            f"{listing.created:%Y-%m-%d %H:%M}",
            ", ".join(f"{name} {score:.1%}" for name, score in listing.scores.items()),
            decision(listing),
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
        (row.section, row.name, *(_short(_text(row.section, row.name, value)) for value in (row.first, row.second)))
        for row in rows
    ]
    _print_table(("", "", *titles), texts)


def show_history(entries: Iterable[Entry]) -> None:
    """Print the journal, a line for each move."""
    rows = [
        (
            str(entry.number),
            entry.time[:16].replace("T", " "),
            entry.action,
            "" if entry.action == "damaged" else f"{entry.before or 'none'} → {entry.version or 'none'}",
            entry.by,
            _why(entry),
        )
        for entry in entries
    ]
    _print_table(("line", "time (UTC)", "move", "champion", "by", "why"), rows)


def show_journal(entries: Sequence[Entry]) -> None:
    """Print the last moves of the journal."""
    print(f"journal, {count(len(entries), 'line')}:")
    show_history(entries[-LAST_MOVES:])
    print()


def _why(entry: Entry) -> str:
    """Return why a move was made, and the verdict where the reason does not have it already."""
    reason = entry.verdict.partition(": ")[2]
    return entry.why if reason in entry.why else "; ".join(filter(None, [entry.why, entry.verdict]))


def _short(text: str) -> str:
    """Return the first digits of a hash, another text as it is."""
    return text[:HASH_DIGITS] if re.fullmatch(r"[0-9a-f]{40,64}", text) else text


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
    output = console(FILE_WIDTH)
    with output.capture() as text:
        output.print(table)
    print("\n".join(line.rstrip() for line in text.get().splitlines()))
