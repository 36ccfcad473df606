"""Who is champion, and the journal of how that came to be.

A move is written to the journal first (a line of `entries.py`), then made (the aliases), then marked as made
(`martlet.applied`). Whatever cuts that short, the next call finds a journal that is ahead of the aliases and finishes
the move. Aliases that were moved by other means are entered as `outside`.

Rolling back walks back along the line of champions, as undo does: twice in a row reaches the champion before the
previous one. A version that was rolled back from leaves the line; `rollback(to=…)` may still return to it.

Who is champion is known without a line that is damaged or was edited; only the way back is not, so that a rollback must
name its version.
"""

import getpass
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from components.errors import MartletError
from components.registry.entries import APPLIED, DAMAGED, Entry, champions, read_entries, sealed, title, unreliable
from components.registry.store import connected, tags_and_aliases, writing
from components.registry.versions import Version, lookup

if TYPE_CHECKING:
    from mlflow import MlflowClient

OUTSIDE = "the alias was moved outside of Martlet"
WHY_LENGTH = 2000
VERDICT_LENGTH = 1000
"""Longest texts of a line, in characters."""


def history(name: str, workspace: Path) -> list[Entry]:
    """Return all moves, the oldest first; no moves for an unknown name."""
    with connected(workspace) as client:
        return read_entries(tags_and_aliases(client, name)[0])


def champion(name: str, workspace: Path) -> Version | None:
    """Return the champion, or None."""
    with writing(workspace) as client:
        number = _healed(client, name)[1]
        return lookup(name, workspace, number=number) if number else None


def promote(
    name: str,
    number: int,
    workspace: Path,
    why: str,
    over: int | None,
    verdict: str = "",
    verdict_sha256: str = "",
) -> Entry | None:
    """Make a version champion and the present champion `previous`; return the move, or None for the champion itself.

    Args:
        over: number of the champion that the version was judged against, or None without a champion.
        verdict: the gate's decision and its reason, in one line.
        verdict_sha256: hash of the verdict's file in the folder of the version's reports.

    Raises:
        MartletError: no such version, its weights have changed, or the champion is no longer `over`.
    """
    version = lookup(name, workspace, number=number)
    with writing(workspace) as client:
        entries, current = _healed(client, name)
        if current == number:
            return None
        if current != over:
            raise MartletError(
                f"the champion of {name} has changed from {title(over)} to {title(current)} since "
                f"version {number} was judged; judge it again"
            )
        version.verify()
        entry = _entry(entries, "promote", (current, number), current, why, verdict, verdict_sha256)
        return _move(client, name, entry)


def rollback(name: str, workspace: Path, to: int | None = None, why: str = "", over: int | None = None) -> Entry:
    """Make the champion before the present one, or the former champion `to`, champion again; return the move.

    Args:
        over: number of the version that must still be champion; by default any may be.

    Raises:
        MartletError: there is no former champion, `to` has never been champion, the line of champions is damaged and
            `to` is None, or the champion is no longer `over`.
    """
    with writing(workspace) as client:
        entries, current = _healed(client, name)
        if over is not None and current != over:
            raise MartletError(f"version {over} of {name} is champion no longer: the champion is {title(current)}")
        existing = {int(v.version) for v in client.search_model_versions(f"name = '{name}'")}
        target = _target(name, entries, current, existing, to)
        lookup(name, workspace, number=target).verify()
        why = why or f"back from {title(current)}"
        entry = _entry(entries, "rollback", (current, target), None, why)
        previous = [number for number in champions([*entries, entry])[:-1] if number in existing]
        entry = _entry(entries, "rollback", (current, target), previous[-1] if previous else None, why)
        return _move(client, name, entry)


def _target(name: str, entries: list[Entry], current: int | None, existing: set[int], to: int | None) -> int:
    """Return the number of the version that a rollback returns to; raises what `rollback` does."""
    damaged = unreliable(entries)
    whole = [entry for entry in entries if entry.number not in damaged]
    former = existing & {number for entry in whole for number in (entry.version, entry.before, entry.previous)}
    choice = ", ".join(str(number) for number in sorted(former - {current}))
    if to is not None:
        if to == current or to not in (existing if damaged else former):
            choice = choice or "there is none"
            raise MartletError(f"version {to} of {name} is no former champion; former champions: {choice}")
        return to
    if damaged:
        raise MartletError(
            f"the journal of {name} is damaged in line {', '.join(map(str, damaged))}: the champion before "
            f"{title(current)} is not known; name the version to return to with --to: {choice}"
        )
    line = [number for number in champions(entries) if number in existing]
    earlier = line[:-1] if line and line[-1] == current else line
    if not earlier:
        raise MartletError(f"nothing to roll back to: {name} has no champion before {title(current)}")
    return earlier[-1]


def _healed(client: "MlflowClient", name: str) -> tuple[list[Entry], int | None]:
    """Finish an interrupted move, record a move from outside, and return the journal and the champion."""
    tags, aliases = tags_and_aliases(client, name)
    entries = read_entries(tags)
    current = aliases.get("champion")
    last = entries[-1] if entries else None
    is_damaged = last is not None and last.action == DAMAGED
    line_before = entries[-2].key if len(entries) > 1 else None
    is_open = not is_damaged and tags.get(APPLIED) == line_before
    if last and is_open and all(_exists(client, name, n) for n in (last.version, last.previous)):
        _apply(client, last, name)
        return entries, last.version
    if current != (last.version if last else None):
        previous = aliases.get("previous")
        why = f"found after the damaged line {last.number}" if last and is_damaged else OUTSIDE
        before = last.version if last else None
        outside = _move(client, name, _entry(entries, "outside", (before, current), previous, why))
        return [*entries, outside], current
    return entries, current


def _exists(client: "MlflowClient", name: str, number: int | None) -> bool:
    return number is None or bool(client.search_model_versions(f"name = '{name}' and version_number = {number}"))


def _entry(
    entries: list[Entry],
    action: str,
    change: tuple[int | None, int | None],
    previous: int | None,
    why: str,
    verdict: str = "",
    verdict_sha256: str = "",
) -> Entry:
    """Return the line after `entries` on a change from one champion to another."""
    before, version = change
    entry = Entry(
        number=entries[-1].number + 1 if entries else 1,
        action=action,
        version=version,
        previous=previous,
        why=why[:WHY_LENGTH],
        by=_user(),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        id=uuid4().hex,
        before=before,
        verdict=verdict[:VERDICT_LENGTH],
        verdict_sha256=verdict_sha256,
    )
    return sealed(entries, entry)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        return str(os.getuid())


def _move(client: "MlflowClient", name: str, entry: Entry) -> Entry:
    """Write one entry, make the move, and read both back: the file lock does not stop writers on other machines."""
    client.set_registered_model_tag(name, entry.key, entry.line)
    _check(client, name, entry)
    _apply(client, entry, name)
    aliases = _check(client, name, entry)
    if aliases.get("champion") != entry.version:
        raise MartletError(
            f"the champion of {name} was moved by somebody else at the same time; check it in MLflow, and try again"
        )
    return entry


def _check(client: "MlflowClient", name: str, entry: Entry) -> dict[str, int]:
    tags, aliases = tags_and_aliases(client, name)
    if read_entries(tags)[-1] != entry:
        raise MartletError(
            f"somebody else is moving the champion of {name} at the same time; check it in MLflow, and try again"
        )
    return aliases


def _apply(client: "MlflowClient", entry: Entry, name: str) -> None:
    aliases = tags_and_aliases(client, name)[1]
    if aliases.get("challenger") == entry.version:
        client.delete_registered_model_alias(name, "challenger")
    for alias, number in (("previous", entry.previous), ("champion", entry.version)):
        if number is None and alias in aliases:
            client.delete_registered_model_alias(name, alias)
        elif number is not None:
            client.set_registered_model_alias(name, alias, str(number))
    client.set_registered_model_tag(name, APPLIED, entry.key)
