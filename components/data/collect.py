"""Collecting rows: from sources to tables, by loading, sampling, splitting and mixing."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components.config.groups.data import Data
from components.data.load import Loader
from components.data.mixing import interleaved, shuffled, split
from components.data.row_store import StoredRows
from components.data.sources import Source
from components.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

MAX_DRAWS_PER_ROW = 1000
SET_NAME_MAX_CHARS = 64


class RowTables(NamedTuple):
    """Tables of rows by their names, the sources with their versions, and the content of a manifest."""

    tables: dict[str, StoredRows]
    sources: list[Source]
    manifest: dict[str, Any]


def collect_rows(train: Sequence[Source], val: Sequence[Source], data: Data, scratch: Path) -> RowTables:
    """Return the tables `train` and `val`: the rows of the sources, sampled, split and mixed as `data` says.

    Until they are written, the rows are in an unnamed file in the folder `scratch`.

    Raises:
        DataGateError: a file that is malformed, not UTF-8, or has no rows; the file and the line are named.
        ConfigError: a placeholder without a value, a column to rename that no dataset has, an unknown hub id, not one
            share for each training dataset.
        MartletError: a hub that does not answer.
    """
    import numpy as np

    check_shares(data.interleave_prob, len(train))
    loader = Loader(data, scratch)
    parts: dict[str, list[np.ndarray]] = {"train": [], "val": []}
    sources, described = [], []
    for name, source in [*(("train", s) for s in train), *(("val", s) for s in val)]:
        rows = loader.load(source)
        ratio = 0.0 if val else data.split_dataset_ratio
        shuffle = data.dataset_shuffle if name == "train" else data.val_dataset_shuffle
        train_rows, val_rows = split(rows.size, rows.source.rows, ratio, data.data_seed, shuffle)
        parts[name].append(train_rows + rows.start)
        parts["val"].append(val_rows + rows.start)
        sources.append(rows.source)
        counts = {"taken": len(train_rows), "held_out": len(val_rows)}
        described.append(rows.description() | {"split": name} | counts)
    loader.prepare.check_columns()
    if data.interleave_prob:
        all_exhausted = data.stopping_strategy == "all_exhausted"
        if all_exhausted:
            _check_draws(parts["train"], data.interleave_prob)
        parts["train"] = [interleaved(parts["train"], data.interleave_prob, data.data_seed, all_exhausted)]
    orders = {name: np.concatenate([*arrays, np.empty(0, np.int64)]) for name, arrays in parts.items()}
    for name, shuffle in (("train", data.dataset_shuffle), ("val", data.val_dataset_shuffle)):
        if shuffle:
            orders[name] = shuffled(orders[name], data.data_seed)
    tables = {name: StoredRows(loader.store, order) for name, order in orders.items()}
    counts = {name: len(table) for name, table in tables.items()}
    return RowTables(tables, sources, {"rows": counts, "sources": described})


def _check_draws(parts: "Sequence[np.ndarray]", shares: Sequence[float]) -> None:
    """Refuse shares with which the last dataset would be exhausted after no sensible number of draws."""
    draws = [len(part) / share * sum(shares) for part, share in zip(parts, shares, strict=True)]
    total = sum(len(part) for part in parts)
    if max(draws) > MAX_DRAWS_PER_ROW * total:
        raise ConfigError(
            f"interleave_prob: to draw all {total:,} rows once would take about {max(draws):,.0f} draws; give the "
            f"dataset with the share {shares[draws.index(max(draws))]:g} more, or --stopping_strategy first_exhausted"
        )


def check_shares(shares: Sequence[float], datasets: int) -> None:
    """See that interleaving has a share for each dataset.

    Raises:
        ConfigError: too few shares, too many, or one that is not more than 0.
    """
    if shares and len(shares) != datasets:
        raise ConfigError(f"interleave_prob: {len(shares)} shares for {datasets} training datasets; give one for each")
    if any(not share > 0 for share in shares):
        raise ConfigError("interleave_prob: every share must be more than 0")


def collect_questions(sources: Sequence[Source], data: Data, scratch: Path) -> RowTables:
    """Return one table for each question set, named by `set_name`; a row is one question and its answer.

    Raises:
        ConfigError: two sets of the same name, or a file whose name holds no letter or digit.
        DataGateError: as `collect_rows`.
    """
    loader = Loader(data, scratch)
    tables: dict[str, StoredRows] = {}
    versioned, described = [], []
    for source in sources:
        name = set_name(source)
        if name in tables:
            raise ConfigError(f"eval_dataset: two question sets are called '{name}'; rename one of the files")
        rows = loader.load(source)
        sample, _ = split(rows.size, rows.source.rows, 0.0, data.data_seed)
        tables[name] = StoredRows(loader.store, sample + rows.start)
        versioned.append(rows.source)
        described.append(rows.description() | {"set": name, "taken": len(sample)})
    return RowTables(tables, versioned, {"sources": described})


def set_name(source: Source) -> str:
    """Return the name of a question set: its file's, up to the first dot, its repository's on a hub, or its plugin's
    with the subset.

    The name becomes part of file names, of a CSV file and of metrics: characters other than letters, digits and `_.-`
    become `_`, and what is longer than `SET_NAME_MAX_CHARS` is cut off.

    Raises:
        ConfigError: nothing is left of the name.
    """
    name = source.name.rpartition("/")[2] if source.hub else Path(source.name).name.partition(".")[0]
    if source.plugin:
        name = "_".join((source.name, *source.subsets))
    name = re.sub(r"[^\w.-]+", "_", name)[:SET_NAME_MAX_CHARS].strip("_.-")
    if not name:
        raise ConfigError(f"eval_dataset: '{source.spec}' gives its question set no name: rename it, to sums.jsonl say")
    return name
