"""The lines of the journal: who became champion, when, by whom and why, each sealed with the lines before it.

A line is a tag of the registered model, `martlet.journal.000001`. Its `chain` is the sha256 of the chain of the line
before and of its own content, so that a line that is edited by hand no longer fits. Lines of a journal from before
there were chains have none; the first line that has one covers them.

A line that cannot be read or is missing is an entry `damaged`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

JOURNAL = "martlet.journal."
APPLIED = "martlet.applied"
DAMAGED = "damaged"


@dataclass(frozen=True)
class Entry:
    """One move of the champion.

    Attributes:
        action: `promote`, `rollback`, `outside` for a move without Martlet, or `damaged` for a line that cannot be
            read, and for the first of lines that are missing.
        version: number of the champion after the move, or None.
        previous: number of the version that a rollback returns to, or None.
        time: in UTC.
        before: number of the champion before the move, or None.
        verdict: the gate's decision and its reason; empty for a move without a verdict.
        verdict_sha256: hash of the verdict's file in the folder of the version's reports.
        chain: hex sha256 of the chain of the line before and of this line; empty in an older journal.
    """

    number: int
    action: str
    version: int | None
    previous: int | None
    why: str
    by: str
    time: str
    id: str
    before: int | None = None
    verdict: str = ""
    verdict_sha256: str = ""
    chain: str = ""

    @property
    def key(self) -> str:
        """The tag of the registered model that holds the line."""
        return f"{JOURNAL}{self.number:06d}"

    @property
    def line(self) -> str:
        """The entry as JSON."""
        return json.dumps(asdict(self), ensure_ascii=False)


def title(number: int | None) -> str:
    """Return `version 3`, or `none`."""
    return "none" if number is None else f"version {number}"


def read_entries(tags: Mapping[str, str]) -> list[Entry]:
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
        numbers = (entry.version, entry.previous, entry.before)
        texts = (entry.action, entry.why, entry.by, entry.time, entry.verdict, entry.verdict_sha256, entry.chain)
        is_whole = all(isinstance(n, int | None) for n in numbers) and all(isinstance(text, str) for text in texts)
        if is_whole and entry.number == number:
            return entry
    except (ValueError, TypeError):  # not JSON, or JSON of another shape
        pass
    return Entry(number, DAMAGED, None, None, "", f"this line {'cannot be read' if line else 'is missing'}", "", "")


def sealed(entries: list[Entry], entry: Entry) -> Entry:
    """Return the entry with its chain, as the line after `entries`."""
    *_, last = ["", *(chain for _, chain in chains(entries))]
    return replace(entry, chain=_digest(last, entry))


def chains(entries: list[Entry]) -> Iterator[tuple[Entry, str]]:
    """Yield each entry with the chain that it should have.

    What follows a damaged line is taken as it stands, and after a line that does not fit, the chain goes on from what
    that line says: a fault is found once.
    """
    chain, is_known = "", True
    for entry in entries:
        expected = _digest(chain, entry) if is_known or not entry.chain else entry.chain
        yield entry, expected
        chain, is_known = entry.chain or expected, entry.action != DAMAGED


def without_chain(entries: list[Entry]) -> list[int]:
    """Return the numbers of the lines at the beginning that have no chain: an older Martlet wrote them."""
    numbers: list[int] = []
    for entry in entries:
        if entry.chain:
            break
        if entry.action != DAMAGED:
            numbers.append(entry.number)
    return numbers


def unreliable(entries: list[Entry]) -> list[int]:
    """Return the numbers of the lines that cannot be read, are missing, or were edited."""
    older = without_chain(entries)
    return [
        entry.number
        for entry, chain in chains(entries)
        if entry.action == DAMAGED or (entry.chain != chain and entry.number not in older)
    ]


def _digest(chain: str, entry: Entry) -> str:
    """Return the chain of an entry behind `chain`. Fields without a value do not count: lines stay valid where later
    versions have more fields."""
    content = {name: value for name, value in asdict(entry).items() if name != "chain" and value not in (None, "")}
    text = json.dumps(content, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(f"{chain}\n{text}".encode()).hexdigest()


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
