"""Findings of the checks: all of them on the disk, the first of each check in memory.

Rows are shuffled before they are checked, so the first findings are those of the first rows in their files.
"""

from bisect import insort
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING

from components.data.checks import ALL
from components.data.checks._batch import references_of
from components.data.exact_json import dumps, loads
from components.data.formats import read_row
from components.data.secrets import mask_secrets
from components.data.sources import row_location
from components.media import COLUMNS, Medium

if TYPE_CHECKING:
    import pyarrow as pa

QUOTE_CHARS = 160
SHOWN = 50
"""Findings of each level and check that are kept in memory, for the page."""


@dataclass
class Finding:
    """A row that failed a check.

    Attributes:
        index: the row's index among all rows, or `ALL`.
        source, row: the dataset and the row's number there.
        excerpt: the offending piece of the row's text.
        quote: the row's JSON around the excerpt, or its beginning; only of findings in memory.
        media: the row's media; as the quote.
    """

    index: int
    split: str
    source: str
    row: int
    check: str
    reason: str
    excerpt: str = ""
    quote: str = ""
    media: list[Medium] = field(default_factory=list)

    @property
    def where(self) -> str:
        """The row's place for people: `train.jsonl:17`."""
        return row_location(self.source, self.row) if self.index != ALL else f"all of {self.split}"

    @property
    def place(self) -> tuple[str, str, int]:
        """The row's place among all rows as they stand in their files."""
        return self.split, self.source, self.row

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}" + (f": {self.quote}" if self.quote else "")


@dataclass
class Findings:
    """All findings, by level (`rejected` or `warned`) and check; `rejected.jsonl` and `warned.jsonl` are in `folder`.

    Attributes:
        max_shown: findings of each level and check in `shown`.
        shown: the first findings of each level and check, by the rows' places in their files.
    """

    folder: Path
    max_shown: int = SHOWN
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    shown: dict[tuple[str, str], list[Finding]] = field(default_factory=dict)
    files: dict[str, IO[bytes]] = field(default_factory=dict)

    def add(self, level: str, finding: Finding) -> None:
        """Count a finding, and append it to the file of its level."""
        import orjson

        finding.reason = mask_secrets(finding.reason)
        key = (level, finding.check)
        self.counts[key] += 1
        shown = self.shown.setdefault(key, [])
        insort(shown, finding, key=lambda other: other.place)
        del shown[self.max_shown :]
        line = {name: getattr(finding, name) for name in ("split", "source", "row", "check", "reason")}
        if level not in self.files:
            self.files[level] = self.path(level).open("wb")
        self.files[level].write(orjson.dumps(line) + b"\n")

    def path(self, level: str) -> Path:
        """Return the file of a level."""
        return self.folder / f"{level}.jsonl"

    def close(self) -> None:
        """Finish the files."""
        for file in self.files.values():
            file.close()

    def quote(self, columns: "Iterable[pa.Array]") -> None:
        """Fill in the quotes of the findings in memory, secrets masked.

        Args:
            columns: the JSON of all rows, in order.
        """
        by_row: dict[int, list[Finding]] = {}
        for finding in (finding for findings in self.shown.values() for finding in findings):
            by_row.setdefault(finding.index, []).append(finding)
        start = 0
        for column in columns if by_row else ():
            for index in by_row.keys() & set(range(start, start + len(column))):
                for finding in by_row[index]:
                    raw = column[index - start].as_py()
                    finding.excerpt, finding.quote = _quote(raw, finding.excerpt)
                    finding.media = _media(raw)
            start += len(column)

    def count(self, level: str) -> int:
        """Return the number of all findings of a level."""
        return sum(count for (other, _), count in self.counts.items() if other == level)

    def of(self, level: str) -> list[Finding]:
        """Return the findings of a level that are in memory, check by check."""
        return [finding for (other, _), findings in self.shown.items() if other == level for finding in findings]

    def lines(self, level: str) -> Iterator[str]:
        """Yield all findings of a level, each as one line of JSON: split, source, row, check, reason."""
        if level in self.files:
            with self.path(level).open(encoding="utf-8") as file:
                yield from (line.rstrip("\n") for line in file)


def _quote(raw: str, excerpt: str) -> tuple[str, str]:
    """Return the offending piece as it stands in a row's JSON, and the text around it, both without secrets."""
    import orjson

    with suppress(ValueError):  # a row that is no JSON is quoted as it stands
        raw = dumps(loads(raw)).decode()
    text, excerpt = mask_secrets(raw), mask_secrets(orjson.dumps(excerpt).decode()[1:-1])
    excerpt = excerpt if excerpt in text else ""
    start = max(0, text.find(excerpt) - QUOTE_CHARS // 2) if excerpt else 0
    end = start + max(QUOTE_CHARS, QUOTE_CHARS // 2 + len(excerpt))
    return excerpt, f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"


def _media(raw: str) -> list[Medium]:
    """Return the media of a row that were found, as `fetch` has written it."""
    if not any(f'"{column}":' in raw for column in COLUMNS.values()):
        return []
    with suppress(ValueError):
        row = read_row(raw)
        values = ((kind, row.get(column) or ()) for kind, column in COLUMNS.items())
        return [one.medium for kind, references in values for one in references_of(kind, references) if not one.problem]
    return []
