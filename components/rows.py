"""Canonical rows: what every input format is converted to, and their schema in the Parquet files between the stages.

A row is a dict with TRL's names, of one of these shapes:

    {"messages": [...]}                                        a conversation
    {"prompt": [...], "chosen": [...], "rejected": [...]}      a preference
    {"prompt": [...], "completion": [...], "label": true}      an unpaired preference
    {"prompt": [...]}                                          a prompt, whose answers rewards judge
    {"text": "..."}                                            plain text

Optional columns: `tools`, `images`, `videos`, `audios` (lists), `objects`, `chat_template_kwargs` (objects), `channel`
(text), and `extra`, an object with the columns that a reward may read. A message has `role` and `content` (texts; ""
for none), and optionally `reasoning_content`, `name`, `tool_call_id` (texts), `tool_calls` (OpenAI's; the `arguments`
an object, or the JSON of one as the raw row spells it) and `loss_scale` (a number: the weight of an assistant's turn in
the loss; 0 is not learned). A null value is the same as an absent one.
"""

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

Message = dict[str, Any]
Row = dict[str, Any]

CONVERSATIONS = ("messages", "prompt", "chosen", "rejected", "completion")
"""Columns that hold lists of messages."""
JSON_COLUMNS = ("tools", "images", "videos", "audios", "objects", "chat_template_kwargs", "extra")
"""Columns with values of any shape, stored in Parquet as JSON texts."""
SCALAR_COLUMNS = ("text", "label", "channel")
COLUMNS = (*CONVERSATIONS, *SCALAR_COLUMNS, *JSON_COLUMNS)
ANSWER_WORDS = ("response", "answer", "output", "completion", "solution", "target", "reply", "result", "text")
"""What people call the column of the answer."""
ROWS_PER_GROUP = 4096
"""Rows in a row group of Parquet: a reader has one group in memory at a time."""


@cache
def schema() -> "pa.Schema":
    """Return the Arrow schema of canonical rows: every column, nullable, then `source` (text) and `row` (int64)."""
    import pyarrow as pa

    texts = ("role", "content", "reasoning_content", "tool_calls", "name", "tool_call_id")
    message = pa.struct([*((name, pa.string()) for name in texts), ("loss_scale", pa.float32())])
    kinds = {"label": pa.bool_()} | {name: pa.list_(message) for name in CONVERSATIONS}
    columns = [(name, kinds.get(name, pa.string())) for name in COLUMNS]
    return pa.schema([*columns, ("source", pa.string()), ("row", pa.int64())])


def to_arrow(rows: Sequence[Row], source: Sequence[str], row: Sequence[int]) -> "pa.RecordBatch":
    """Return one batch of `schema()` with canonical rows, and for each its dataset spec and its row number there.

    Raises:
        UnicodeEncodeError: a text has a lone surrogate, which UTF-8 cannot encode.
    """
    import numpy as np
    import pyarrow as pa

    columns = [_column(name, [r.get(name) for r in rows]) for name in COLUMNS]
    return pa.RecordBatch.from_arrays([*columns, texts(source), numbers(np.asarray(row, np.int64))], schema=schema())


def from_arrow(batch: "pa.RecordBatch") -> list[Row]:
    """Return the canonical rows of a batch, without `source` and `row`; columns that the batch lacks are absent."""
    import orjson

    rows: list[Row] = [{} for _ in range(batch.num_rows)]
    for name in COLUMNS:
        column = batch.column(name) if name in batch.schema.names else None
        if column is None or column.null_count == len(column):
            continue
        values: Any = _conversations(column) if name in CONVERSATIONS else column.to_pylist()
        for r, value in zip(rows, values, strict=True):
            if value is not None:
                r[name] = orjson.loads(value) if name in JSON_COLUMNS else value
    return rows


def label_of(row: Row) -> Any:
    """Return what a row says of its text: whether an answer is a good one, the class of a text or of two, or else how
    alike these are; None where it says nothing."""
    extra = row.get("extra", {})
    names = ("label", "labels", "score") if "anchor" in extra else ("label", "labels")
    return row["label"] if "label" in row else next((extra[name] for name in names if name in extra), None)


def number_of(value: Any) -> float | None:
    """Return a number, which may be written as a text, as all cells of CSV are; None for what is none."""
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def unread_answer(row: Row) -> str:
    """Return what to do with a prompt whose answer may stand in a column that no format reads; "" where it has no other
    columns."""
    import json
    from difflib import SequenceMatcher

    texts = [name for name, value in row.get("extra", {}).items() if isinstance(value, str | list)]
    if not texts:
        return ""
    likely = max(texts, key=lambda name: max(SequenceMatcher(None, name.lower(), x).ratio() for x in ANSWER_WORDS))
    renamed = json.dumps({likely: "response"}, ensure_ascii=False)
    return f"not read are {', '.join(texts)}; if '{likely}' holds the answer, rename it with --columns '{renamed}'"


def _column(name: str, values: list[Any]) -> "pa.Array":
    import orjson
    import pyarrow as pa

    kind = schema().field(name).type
    if all(value is None for value in values):
        return pa.nulls(len(values), kind)
    if name in CONVERSATIONS:
        return _messages(values, kind)
    if name in JSON_COLUMNS:
        values = [None if value is None else orjson.dumps(value).decode() for value in values]
    return pa.array(values, kind) if name == "label" else texts(values)


def texts(values: Sequence[str | None]) -> "pa.StringArray":
    """Return an Arrow array of texts.

    Raises:
        UnicodeEncodeError: a text has a lone surrogate.
    """
    import numpy as np
    import pyarrow as pa

    present = np.array([value is not None for value in values], bool)
    bits = None if present.all() else pa.py_buffer(np.packbits(present, bitorder="little"))
    return utf8([b"" if value is None else value.encode() for value in values], bits)


def utf8(values: Sequence[bytes], bits: "pa.Buffer | None" = None) -> "pa.StringArray":
    """Return an Arrow array of texts that are encoded already; `bits` is the validity bitmap, None for no nulls.

    `pa.array` would import pandas first, which takes as long as converting a thousand rows.
    """
    import numpy as np
    import pyarrow as pa

    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum([len(value) for value in values], out=offsets[1:])
    return pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(b"".join(values)), bits)


def numbers(values: "np.ndarray") -> "pa.Array":
    """Return an Arrow array that shares the memory of a contiguous NumPy array."""
    import pyarrow as pa

    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, pa.py_buffer(values)])


def _messages(values: list[list[Message] | None], kind: "pa.ListType") -> "pa.Array":
    import numpy as np
    import orjson
    import pyarrow as pa

    flat = [message for messages in values if messages for message in messages]
    fields: list[pa.Array] = []
    for field in kind.value_type:
        cells = [message.get(field.name) for message in flat]
        if field.name == "tool_calls":
            cells = [orjson.dumps(cell).decode() if cell else None for cell in cells]
        if all(cell is None for cell in cells):
            fields.append(pa.nulls(len(cells), field.type))
        else:
            fields.append(texts(cells) if field.type == pa.string() else pa.array(cells, field.type))
    offsets = np.zeros(len(values) + 1, np.int32)
    np.cumsum([len(messages or ()) for messages in values], out=offsets[1:])
    structs = pa.StructArray.from_arrays(fields, fields=list(kind.value_type))
    missing = np.array([messages is None for messages in values], bool)
    mask = pa.array(missing) if missing.any() else None
    return pa.ListArray.from_arrays(numbers(offsets), structs, type=kind, mask=mask)


def _conversations(column: "pa.ListArray") -> Iterator[list[Message] | None]:
    """Yield the messages of each row. The columns of all messages are converted at once, because converting a list of
    structs row by row is slow."""
    import orjson

    structs = column.flatten()
    fields = {
        field.name: structs.field(i).to_pylist()
        for i, field in enumerate(structs.type)
        if structs.field(i).null_count < len(structs)
    }
    if "tool_calls" in fields:
        fields["tool_calls"] = [orjson.loads(cell) if cell else None for cell in fields["tool_calls"]]
    plain = fields.keys() <= {"role", "content"}
    cells = zip(*fields.values(), strict=True)
    names = list(fields)
    if plain:
        messages = iter([dict(zip(names, values, strict=True)) for values in cells])
    else:
        messages = ({n: v for n, v in zip(names, values, strict=True) if v is not None} for values in cells)
    for length in column.value_lengths().to_pylist():
        yield None if length is None else [next(messages) for _ in range(length)]


@contextmanager
def rows_writer(path: Path) -> "Generator[Any]":
    """Open a Parquet file for batches of `schema()`: `with rows_writer(path) as writer: writer.write_batch(batch)`."""
    import pyarrow.parquet as pq

    with pq.ParquetWriter(path, schema(), compression="zstd") as writer:
        yield writer


def read_batches(
    path: Path, columns: Sequence[str] | None = None, batch_size: int = ROWS_PER_GROUP
) -> "Iterator[pa.RecordBatch]":
    """Yield the batches of a Parquet file, one at a time in memory; `columns` are read, by default all."""
    import pyarrow.parquet as pq

    # pre_buffer would keep all row groups in memory, compressed, until the end.
    with pq.ParquetFile(path, pre_buffer=False) as file:
        yield from file.iter_batches(batch_size, columns=None if columns is None else list(columns))
