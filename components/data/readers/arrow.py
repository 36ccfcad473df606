"""Arrow's IPC format, as a file and as a stream (which is how `datasets` saves); and what Parquet shares with it."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from components.data.readers._faults import Faults
from components.data.readers._files import seekable
from components.errors import DataGateError

SUFFIXES = (".arrow",)
BATCH_ROWS = 1024
"""Rows that are Python objects at a time."""


def rows(file: BinaryIO, faults: Faults) -> Iterator[tuple[int, dict[str, Any], None]]:
    """Yield the records, numbered from 1."""
    with explained(faults, "Arrow"):
        import pyarrow as pa

        source = seekable(file)
        is_file = source.read(6) == b"ARROW1"
        source.seek(0)
        if is_file:
            reader = pa.ipc.open_file(source)
            batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
        else:
            batches = reader = pa.ipc.open_stream(source)
        yield from numbered(reader.schema, batches, faults)


def numbered(schema: Any, batches: Iterable[Any], faults: Faults) -> Iterator[tuple[int, dict[str, Any], None]]:
    """Yield the rows of record batches, numbered from 1; a struct's fields that are null are left out.

    All structs of a column have all its fields, so that a null mostly is what the row did not have.
    """
    if len(set(schema.names)) < len(schema.names):
        faults.refuse(1, f"two columns have the same name: {', '.join(schema.names)}")
    nested = [field.name for field in schema if _has_struct(field.type)]
    number = 0
    for batch in batches:
        batch.validate(full=True)  # a damaged file could else lead outside of its buffers
        for start in range(0, batch.num_rows, BATCH_ROWS):
            for number, row in enumerate(batch.slice(start, BATCH_ROWS).to_pylist(), number + 1):  # noqa: B020
                yield number, row | {name: _without_nulls(row[name]) for name in nested}, None


def _has_struct(kind: Any) -> bool:
    import pyarrow as pa

    return pa.types.is_struct(kind) or any(_has_struct(kind.field(i).type) for i in range(kind.num_fields))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


@contextmanager
def explained(faults: Faults, kind: str) -> Generator[None]:
    """Turn Arrow's errors into one sentence."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataGateError(f"{faults.name}: not {_a(kind)} file that can be read: {reason}") from error


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "AEIOU" else f"a {kind}"
