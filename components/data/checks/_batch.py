"""A batch of canonical rows as flat columns."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, NamedTuple

from components.media import COLUMNS, Medium
from components.rows import CONVERSATIONS, Row

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    import pyarrow as pa

TEXT = len(CONVERSATIONS)
"""Number of the column `text` among those of `Batch.turns`; a conversation's is its place in `CONVERSATIONS`."""
CODES = {"system": "s", "user": "u", "assistant": "a", "tool": "t"}


class Reference(NamedTuple):
    """A medium of a row; `name` is for people, `problem` why it was not found."""

    medium: Medium
    name: str
    problem: str


def references_of(kind: str, values: Iterable[Any]) -> Iterator[Reference]:
    """Yield the references of a column: as `fetch` writes them, or else addresses that were never looked up."""
    for number, value in enumerate(values, 1):
        frames = value if isinstance(value, list) and value else None
        for place, one in enumerate(frames or [value], 1):
            one = one if isinstance(one, dict) else {"path": str(one)}
            path, sha = str(one.get("path") or ""), str(one.get("sha256") or "")
            where = f"{kind} {number}, frame {place}" if frames else f"{kind} {number}"
            name = f"{where} ({PurePath(path).name[:40]})" if path else where
            problem = "" if sha else one.get("problem") or "was not looked up: run the stage fetch again"
            yield Reference(Medium("image" if frames else kind, path, sha), name, problem)


@dataclass
class Batch:
    """Rows of one split, as Python objects and as Arrow; a row that no format could read is empty.

    Attributes:
        start: the index of the first row among all rows.
    """

    split: str
    start: int
    rows: list[Row]
    arrow: "pa.RecordBatch"

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def turns(self) -> "pl.DataFrame":
        """A data frame with one line for each message: its `row` in the batch, `column`, `place` there, and its fields.

        The messages of a column stand together, in order. A plain text is a message of no role.
        """
        import numpy as np
        import polars as pl

        frames = []
        for number, name in enumerate(CONVERSATIONS):
            column: Any = self.arrow.column(name)
            if column.null_count == len(column):
                continue
            offsets = np.from_dlpack(column.offsets)
            lengths = np.diff(offsets)
            row = np.repeat(np.arange(len(self), dtype=np.int32), lengths)
            place = np.arange(len(row), dtype=np.int32) - np.repeat(offsets[:-1] - offsets[0], lengths)
            frames.append(_frame(row, number, place, _fields(column.flatten())))
        texts = self.arrow.column("text")
        if texts.null_count < len(texts):
            content: Any = pl.from_arrow(texts)
            row = content.is_not_null().arg_true().to_numpy().astype(np.int32)
            frames.append(_frame(row, TEXT, np.zeros(len(row), np.int32), {"content": content.drop_nulls()}))
        frames = frames or [
            _frame(np.zeros(0, np.int32), 0, np.zeros(0, np.int32), {"content": pl.Series([], dtype=pl.String)})
        ]
        whole = pl.concat(frames, how="diagonal")
        missing = [name for name in ("role", "reasoning_content", "tool_calls") if name not in whole.columns]
        return whole.with_columns(pl.lit(None, pl.String).alias(name) for name in missing)

    @cached_property
    def row_of(self) -> "np.ndarray":
        """The row of each turn."""
        return self.turns["row"].to_numpy()

    @cached_property
    def strings(self) -> "pl.DataFrame":
        """Every text in a row that a tokenizer may see, as `row` and `string`; those of any shape are JSON."""
        import polars as pl

        turns = self.turns
        parts = [turns.select("row", pl.col("content").alias("string"))]
        fields = [name for name in ("reasoning_content", "tool_calls") if turns[name].null_count() < len(turns)]
        parts += [turns.select("row", pl.col(name).alias("string")).drop_nulls() for name in fields]
        tools = self.arrow.column("tools")
        if tools.null_count < len(tools):
            declared: Any = pl.from_arrow(tools)
            numbers = pl.int_range(len(self), dtype=pl.Int32, eager=True)
            parts.append(pl.DataFrame({"row": numbers, "string": declared}).drop_nulls())
        return pl.concat(parts)

    @cached_property
    def media(self) -> dict[int, list[Reference]]:
        """The references to media of each row that has some, the frames of videos one by one."""
        columns = {kind: name for kind, name in COLUMNS.items() if self.has(name)}
        by_row: dict[int, list[Reference]] = {}
        for i, row in enumerate(self.rows) if columns else ():
            references = [one for kind, name in columns.items() for one in references_of(kind, row.get(name) or ())]
            if references:
                by_row[i] = references
        return by_row

    @cached_property
    def media_keys(self) -> "np.ndarray":
        """64 bits of the media of each row, the same for the same contents in the same order; 0 where it has none."""
        import numpy as np

        keys = np.zeros(len(self), np.uint64)
        for i, references in self.media.items():
            words = "\n".join(f"{kind} {sha or path}" for (kind, path, sha, _), _, _ in references)
            keys[i] = int.from_bytes(blake2b(words.encode(), digest_size=8).digest(), "little")
        return keys

    def has(self, column: str) -> bool:
        """Return whether any row has the column."""
        values = self.arrow.column(column)
        return values.null_count < len(values)

    @cached_property
    def sizes(self) -> "np.ndarray":
        """Characters of each row, all its messages together."""
        return self.per_row(self.turns["content"].str.len_chars().to_numpy())

    def per_row(self, of_turns: "np.ndarray") -> "np.ndarray":
        """The sum over the turns of each row (int64)."""
        import numpy as np

        return np.bincount(self.row_of, of_turns, len(self)).astype(np.int64)

    @cached_property
    def roles(self) -> dict[str, "pl.Series"]:
        """For each conversation's column the roles of each row as letters.

        s(ystem), u(ser), a(ssistant), c(alls of tools by an assistant), t(ool), x for any other. Columns that no row
        has are left out; a row without this one has null.
        """
        import numpy as np
        import polars as pl
        import pyarrow as pa

        role, calls = pl.col("role"), pl.col("tool_calls").is_not_null()
        letter = pl.when((role == "assistant") & calls).then(ord("c")).otherwise(ord("x"))
        for name, code in CODES.items():
            letter = pl.when((role == name) & ~((role == "assistant") & calls)).then(ord(code)).otherwise(letter)
        letters = self.turns.select(pl.col("column"), letter.cast(pl.UInt8).alias("letter"))
        roles = {}
        for number, name in enumerate(CONVERSATIONS):
            column: Any = self.arrow.column(name)
            if column.null_count == len(column):
                continue
            own = letters.filter(pl.col("column") == number)["letter"].to_numpy()
            offsets = np.from_dlpack(column.offsets)
            offsets = np.ascontiguousarray(offsets - offsets[0])
            buffers = pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(own))
            strings: Any = pl.from_arrow(pa.StringArray.from_buffers(len(self), *buffers))
            present: Any = pl.from_arrow(column.is_valid())
            roles[name] = pl.select(pl.when(present).then(strings)).to_series()
        return roles


def _fields(structs: Any) -> dict[str, Any]:
    """The fields of messages that some message has."""
    import polars as pl

    columns = {field.name: structs.field(i) for i, field in enumerate(structs.type)}
    return {name: pl.from_arrow(c) for name, c in columns.items() if c.null_count < len(c) or name == "content"}


def _frame(row: Any, column: int, place: Any, fields: dict[str, Any]) -> "pl.DataFrame":
    import polars as pl

    numbers = {"row": row, "column": pl.Series([column], dtype=pl.UInt8).new_from_index(0, len(row)), "place": place}
    return pl.DataFrame(numbers | fields)
