"""What changed between two versions of a dataset."""

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
    """A row of A and a row of B, each as (number, canonical row) or None where there is none."""

    before: tuple[int, Row] | None
    after: tuple[int, Row] | None


class Difference(NamedTuple):
    """Rows of two datasets compared as sets: how many of each, how many are the same, and what is not.

    A row of each with the same prompt and another answer is one change.
    """

    rows: tuple[int, int]
    same: int
    changed: list[Change]
    added: list[Change]
    removed: list[Change]


def difference(params: Params, before: str, after: str, workspace: Path) -> Difference:
    """Compare two datasets row by row, whatever their formats and their order."""
    sides = [_rows_of(params, spec, workspace) for spec in (before, after)]
    digests = [Counter(digest for _, digest, _ in side) for side in sides]
    common = digests[0] & digests[1]
    left = [_without(side, common.copy()) for side in sides]
    waiting: dict[bytes, list[tuple[int, Row]]] = defaultdict(list)
    for number, _, row in left[0]:
        waiting[_digest(_prompt(row))].append((number, row))
    changed: list[Change] = []
    added: list[Change] = []
    for number, _, row in left[1]:
        partners = waiting.get(_digest(_prompt(row))) if _prompt(row) else None
        (changed if partners else added).append(Change(partners.pop(0) if partners else None, (number, row)))
    removed = [Change(one, None) for rows in waiting.values() for one in rows]
    removed.sort(key=lambda change: change.before[0] if change.before else 0)
    return Difference((len(sides[0]), len(sides[1])), common.total(), changed, added, removed)


def _rows_of(params: Params, spec: str, workspace: Path) -> list[tuple[int, bytes, Row]]:
    import orjson

    found: list[tuple[int, bytes, Row]] = []
    one = params.model_copy(update={"data": params.data.model_copy(update={"dataset": [spec], "val_dataset": []})})
    with folder(in_order(one), workspace) as (one, paths):
        fetch.rows(one, paths)
        for batch in read_batches(paths.raw / "train.parquet"):
            for number, raw in zip(batch.column("row").to_pylist(), batch.column("raw").to_pylist(), strict=True):
                try:
                    row = data.to_row(orjson.loads(raw))
                except ValueError:  # it is compared as it stands
                    row = {"text": raw}
                found.append((number, _digest(row), row))
    return found


def _without(side: list[tuple[int, bytes, Row]], common: "Counter[bytes]") -> list[tuple[int, bytes, Row]]:
    left: list[tuple[int, bytes, Row]] = []
    for entry in side:
        if common[entry[1]]:
            common[entry[1]] -= 1
        else:
            left.append(entry)
    return left


def _prompt(row: Row) -> Any:
    """What is asked: all but the last answer, or nothing where nothing is."""
    return row.get("prompt") or row.get("messages", [])[:-1]


def _digest(value: Any) -> bytes:
    import orjson

    return hashlib.blake2b(orjson.dumps(value, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()
