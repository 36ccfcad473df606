"""The difference between two versions of a dataset."""

import hashlib
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from components import data
from components.config import Params
from components.rows import Row, read_batches
from tasks.looking.folder import folder, in_order
from tasks.stages import fetch


class Change(NamedTuple):
    """A row of the first version and a row of the second, each as (number, canonical row), or None."""

    before: tuple[int, Row] | None
    after: tuple[int, Row] | None


class Difference(NamedTuple):
    """Two datasets compared as multisets of rows.

    Attributes:
        rows: how many each has.
        same: how many are in both.
        changed: pairs of rows with the same prompt and another answer.
        added: rows of the second alone.
        removed: rows of the first alone.
    """

    rows: tuple[int, int]
    same: int
    changed: list[Change]
    added: list[Change]
    removed: list[Change]


def difference(params: Params, before: str, after: str, workspace: Path) -> Difference:
    """Return the difference between two datasets, whatever their formats and their order."""
    sides = [_rows_of(params, spec, workspace) for spec in (before, after)]
    digests = [Counter(digest for _, digest, _ in side) for side in sides]
    common = digests[0] & digests[1]
    rest_before, rest_after = (_without(side, common.copy()) for side in sides)
    partners_of: dict[bytes, list[tuple[int, Row]]] = defaultdict(list)
    for number, _, row in rest_before:
        partners_of[_digest(_prompt(row))].append((number, row))
    changed: list[Change] = []
    added: list[Change] = []
    for number, _, row in rest_after:
        partners = partners_of.get(_digest(_prompt(row))) if _prompt(row) else None
        (changed if partners else added).append(Change(partners.pop(0) if partners else None, (number, row)))
    removed = [Change(row, None) for rows in partners_of.values() for row in rows]
    removed.sort(key=lambda change: change.before[0] if change.before else 0)
    return Difference((len(sides[0]), len(sides[1])), common.total(), changed, added, removed)


def _rows_of(params: Params, spec: str, workspace: Path) -> list[tuple[int, bytes, Row]]:
    """Return the rows of a dataset as (number, digest, canonical row)."""

    rows: list[tuple[int, bytes, Row]] = []
    params = params.model_copy(update={"data": params.data.model_copy(update={"dataset": [spec], "val_dataset": []})})
    with folder(in_order(params), workspace) as (params, paths):
        fetch.rows(params, paths)
        for batch in read_batches(paths.raw / "train.parquet"):
            for number, raw in zip(batch.column("row").to_pylist(), batch.column("raw").to_pylist(), strict=True):
                try:
                    row = data.read_row(raw)
                except ValueError:  # a row that no format reads is compared as it stands
                    row = {"text": raw}
                rows.append((number, _digest(row), row))
    return rows


def _without(side: list[tuple[int, bytes, Row]], common: "Counter[bytes]") -> list[tuple[int, bytes, Row]]:
    """Return the rows of one dataset that are not among the `common` digests, which are used up."""
    rest: list[tuple[int, bytes, Row]] = []
    for entry in side:
        if common[entry[1]]:
            common[entry[1]] -= 1
        else:
            rest.append(entry)
    return rest


def _prompt(row: Row) -> Any:
    """Return the prompt of a row: the messages before its answer; empty for a text."""
    return row.get("prompt") or row.get("messages", [])[:-1]


def _digest(value: Any) -> bytes:
    import orjson

    return hashlib.blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()
