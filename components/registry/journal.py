"""Who is champion, and the journal of how that came to be.

A move is written to the journal first (a tag of the registered model, `martlet.journal.000001`), then made (the
aliases), then marked as made (`martlet.applied`). Whatever cuts that short, the next call finds a journal that is ahead
of the aliases and finishes the move. Aliases that were moved by other means are entered as `outside`.

Rolling back walks back along the line of champions, as undo does: twice in a row reaches the champion before the
previous one. A version that was rolled back from leaves the line; `rollback(to=…)` may still return to it.

A line that cannot be read or is missing is an entry `damaged`. Who is champion is known without it; only the way back
is not, so that a rollback must name its version.
"""

import getpass
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from components.errors import MartletError
from components.registry.store import connected, writing
from components.registry.versions import Version, lookup

if TYPE_CHECKING:
    from mlflow import MlflowClient

JOURNAL = "martlet.journal."
APPLIED = "martlet.applied"
DAMAGED = "damaged"
OUTSIDE = "the alias was moved outside of Martlet"
WHY_LENGTH = 2000
"""MLflow keeps 5000 characters of a tag."""


@dataclass(frozen=True)
class Entry:
    """One move of the champion.

    Attributes:
        action: `promote`, `rollback`, `outside` for a move without Martlet, or `damaged` for a line that cannot be
            read, and for the first of lines that are missing.
        version: number of the champion after the move, or None.
        previous: number of the version that a rollback returns to, or None.
        time: in UTC.
    """

    number: int
    action: str
    version: int | None
    previous: int | None
    why: str
    by: str
    time: str
    id: str

    @property
    def key(self) -> str:
        return f"{JOURNAL}{self.number:06d}"


def history(name: str, workspace: Path) -> list[Entry]:
    """Return all moves, the oldest first; no moves for an unknown name."""
    with connected(workspace) as client:
        return _entries(_tags_and_aliases(client, name)[0])


def champion(name: str, workspace: Path) -> Version | None:
    """Return the champion, or None."""
    with writing(workspace) as client:
        number = _healed(client, name)[1]
        return lookup(name, workspace, number=number) if number else None


def challenge(version: Version, workspace: Path) -> None:
    """Give `version` the alias `challenger`, unless it is champion."""
    with writing(workspace) as client:
        if _tags_and_aliases(client, version.name)[1].get("champion") != version.number:
            client.set_registered_model_alias(version.name, "challenger", str(version.number))


def promote(name: str, number: int, workspace: Path, why: str, over: int | None) -> Entry | None:
    """Make a version champion and the present champion `previous`; return the move, or None for the champion itself.

    Args:
        over: number of the champion that the version was judged against, or None without a champion.

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
                f"the champion of {name} has changed from {_title(over)} to {_title(current)} since "
                f"version {number} was judged; judge it again"
            )
        version.verify()
        return _move(client, name, entries, "promote", number, current, why)


def rollback(name: str, workspace: Path, to: int | None = None, why: str = "") -> Entry:
    """Make the champion before the present one, or the former champion `to`, champion again; return the move.

    Raises:
        MartletError: there is no former champion, `to` has never been champion, or the line of champions is damaged
            and `to` is None.
    """
    with writing(workspace) as client:
        entries, current = _healed(client, name)
        existing = {int(v.version) for v in client.search_model_versions(f"name = '{name}'")}
        line = [number for number in champions(entries) if number in existing]
        damaged = [str(entry.number) for entry in entries if entry.action == DAMAGED]
        former = existing if damaged else {entry.version for entry in entries if entry.version in existing}
        former = former - {current}
        if damaged and to is None:
            raise MartletError(
                f"the journal of {name} is damaged in line {', '.join(damaged)}: the champion before {_title(current)} "
                f"is not known; name the version to return to with --to: {', '.join(map(str, sorted(former)))}"
            )
        if to is not None and to not in former:
            choice = ", ".join(map(str, sorted(n for n in former if n))) or "there is none"
            raise MartletError(f"version {to} of {name} is no former champion; former champions: {choice}")
        earlier = line[:-1] if line and line[-1] == current else line
        if to is None and not earlier:
            raise MartletError(f"nothing to roll back to: {name} has no champion before {_title(current)}")
        target = earlier[-1] if to is None else to
        lookup(name, workspace, number=target).verify()
        after = champions([*entries, _entry(entries, "rollback", target, None, "")])
        previous = [number for number in after[:-1] if number in existing]
        why = why or f"back from {_title(current)}"
        return _move(client, name, entries, "rollback", target, previous[-1] if previous else None, why)


def champions(entries: list[Entry]) -> list[int]:
    """Return the champions that rollbacks return to one after the other, the present champion last."""
    line: list[int] = []
    for entry in entries:
        if entry.version is None:
            continue
        earlier = line[:-1] if entry.action == "rollback" else []
        if entry.version in earlier:
            last = len(earlier) - earlier[::-1].index(entry.version)
            line = line[:last]
        elif line[-1:] != [entry.version]:
            line = [*line, entry.version]
    return line


def _title(number: int | None) -> str:
    return "none" if number is None else f"version {number}"


def _tags_and_aliases(client: "MlflowClient", name: str) -> tuple[dict[str, str], dict[str, int]]:
    """Return tags and aliases of the registered model; both are empty without such a model."""
    from mlflow.exceptions import MlflowException

    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}, {}
        raise
    return dict(model.tags), {alias: int(version) for alias, version in model.aliases.items()}


def _entries(tags: dict[str, str]) -> list[Entry]:
    """Return the journal that tags of the registered model hold; the line that was made last is one of its lines."""
    lines = {_number(key): line for key, line in tags.items()}
    lines.setdefault(_number(tags.get(APPLIED, "")), "")
    entries: list[Entry] = []
    for number in sorted(number for number in lines if number):
        expected = entries[-1].number + 1 if entries else 1
        if number != expected:
            entries.append(_read(expected, ""))
        entries.append(_read(number, lines[number]))
    return entries


def _number(key: str) -> int:
    """Return the number of a line of the journal; 0 for another tag."""
    number = key.removeprefix(JOURNAL)
    return int(number) if key.startswith(JOURNAL) and number.isdecimal() else 0


def _read(number: int, line: str) -> Entry:
    """Return the entry that a line holds; `damaged` where the line holds none, or that of another number."""
    try:
        entry = Entry(**json.loads(line))
        numbers, texts = (entry.version, entry.previous), (entry.action, entry.why, entry.by, entry.time)
        is_whole = all(isinstance(n, int | None) for n in numbers) and all(isinstance(text, str) for text in texts)
        if is_whole and entry.number == number:
            return entry
    except (ValueError, TypeError):  # not JSON, or JSON of another shape
        pass
    return Entry(number, DAMAGED, None, None, "", f"this line {'cannot be read' if line else 'is missing'}", "", "")


def _healed(client: "MlflowClient", name: str) -> tuple[list[Entry], int | None]:
    """Finish an interrupted move, record a move from outside, and return the journal and the champion."""
    tags, aliases = _tags_and_aliases(client, name)
    entries = _entries(tags)
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
        outside = _move(client, name, entries, "outside", current, previous, why)
        return [*entries, outside], current
    return entries, current


def _exists(client: "MlflowClient", name: str, number: int | None) -> bool:
    return number is None or bool(client.search_model_versions(f"name = '{name}' and version_number = {number}"))


def _entry(entries: list[Entry], action: str, version: int | None, previous: int | None, why: str) -> Entry:
    return Entry(
        number=entries[-1].number + 1 if entries else 1,
        action=action,
        version=version,
        previous=previous,
        why=why[:WHY_LENGTH],
        by=_user(),
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        id=uuid4().hex,
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        return str(os.getuid())


def _move(
    client: "MlflowClient",
    name: str,
    entries: list[Entry],
    action: str,
    version: int | None,
    previous: int | None,
    why: str,
) -> Entry:
    """Write one entry, make the move, and read both back: the file lock does not stop writers on other machines."""
    entry = _entry(entries, action, version, previous, why)
    client.set_registered_model_tag(name, entry.key, json.dumps(asdict(entry), ensure_ascii=False))
    _check(client, name, entry)
    _apply(client, entry, name)
    aliases = _check(client, name, entry)
    if aliases.get("champion") != version:
        raise MartletError(
            f"the champion of {name} was moved by somebody else at the same time; check it in MLflow, and try again"
        )
    return entry


def _check(client: "MlflowClient", name: str, entry: Entry) -> dict[str, int]:
    tags, aliases = _tags_and_aliases(client, name)
    if _entries(tags)[-1] != entry:
        raise MartletError(
            f"somebody else is moving the champion of {name} at the same time; check it in MLflow, and try again"
        )
    return aliases


def _apply(client: "MlflowClient", entry: Entry, name: str) -> None:
    aliases = _tags_and_aliases(client, name)[1]
    if aliases.get("challenger") == entry.version:
        client.delete_registered_model_alias(name, "challenger")
    for alias, number in (("previous", entry.previous), ("champion", entry.version)):
        if number is None and alias in aliases:
            client.delete_registered_model_alias(name, alias)
        elif number is not None:
            client.set_registered_model_alias(name, alias, str(number))
    client.set_registered_model_tag(name, APPLIED, entry.key)
