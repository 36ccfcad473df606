"""What the checks found: all of it on the disk, a few of each kind in memory."""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from components.data.checks import ALL
from components.data.secrets import masked
from components.data.sources import where

if TYPE_CHECKING:
    import pyarrow as pa

QUOTE = 160
SHOWN = 50


@dataclass
class Finding:
    """A row that failed a check: where it is and why. `index` is its place among all rows, or `ALL`.

    `bit` is the offending piece. `quote` is what of the row's JSON stands around it, or its beginning; it is there
    only for those that are shown.
    """

    index: int
    split: str
    source: str
    row: int
    check: str
    reason: str
    bit: str = ""
    quote: str = ""

    @property
    def where(self) -> str:
        """How a person finds the row: `train.jsonl:17`."""
        return where(self.source, self.row) if self.index != ALL else f"all of {self.split}"

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}" + (f": {self.quote}" if self.quote else "")


@dataclass
class Findings:
    """Writes `rejected.jsonl` and `warned.jsonl` in `folder`, and counts."""

    folder: Path
    kept: int = SHOWN
    """How many of each level and check are kept in memory, for the page."""
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    shown: dict[tuple[str, str], list[Finding]] = field(default_factory=dict)
    """The first of each level and check."""
    files: dict[str, IO[bytes]] = field(default_factory=dict)

    def add(self, level: str, finding: Finding) -> None:
        """Name a row that is `rejected` or `warned` of."""
        import orjson

        finding.reason = masked(finding.reason)
        key = (level, finding.check)
        self.counts[key] += 1
        if self.counts[key] <= self.kept:
            self.shown.setdefault(key, []).append(finding)
        named = {name: getattr(finding, name) for name in ("split", "source", "row", "check", "reason")}
        if level not in self.files:
            self.files[level] = self.path(level).open("wb")
        self.files[level].write(orjson.dumps(named) + b"\n")

    def path(self, level: str) -> Path:
        """The file of a level."""
        return self.folder / f"{level}.jsonl"

    def close(self) -> None:
        """Finish the files."""
        for file in self.files.values():
            file.close()

    def quote(self, columns: "Iterable[pa.Array]") -> None:
        """Quote the rows that are shown, from all rows' JSON in order; a secret is masked."""
        wanted: dict[int, list[Finding]] = {}
        for finding in (finding for found in self.shown.values() for finding in found):
            wanted.setdefault(finding.index, []).append(finding)
        start = 0
        for column in columns if wanted else ():
            for index in wanted.keys() & set(range(start, start + len(column))):
                for finding in wanted[index]:
                    finding.bit, finding.quote = _quoted(column[index - start].as_py(), finding.bit)
            start += len(column)

    def count(self, level: str) -> int:
        """All of a level."""
        return sum(count for (of, _), count in self.counts.items() if of == level)

    def of(self, level: str) -> list[Finding]:
        """Those in memory, check by check."""
        return [finding for (of, _), found in self.shown.items() if of == level for finding in found]

    def lines(self, level: str) -> Iterator[str]:
        """All of a level, each as JSON on one line: split, source, row, check, reason."""
        if level in self.files:
            with self.path(level).open(encoding="utf-8") as file:
                yield from (line.rstrip("\n") for line in file)


def _quoted(raw: str, bit: str) -> tuple[str, str]:
    """The offending piece as it stands in a row's JSON, and what surrounds it; both without secrets."""
    import orjson

    with suppress(ValueError):  # what is no JSON is quoted as it stands
        raw = orjson.dumps(orjson.loads(raw)).decode()
    text, bit = masked(raw), masked(orjson.dumps(bit).decode()[1:-1])
    bit = bit if bit in text else ""
    start = max(0, text.find(bit) - QUOTE // 2) if bit else 0
    end = start + max(QUOTE, QUOTE // 2 + len(bit))
    return bit, f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"
