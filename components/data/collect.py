"""From sources to tables: read, rename, fill, take, split, mix."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from components.config.groups.data import Data
from components.data.formats import to_messages
from components.data.hubs import snapshot
from components.data.mixing import shuffled, split
from components.data.placeholders import filler
from components.data.readers import read
from components.data.sources import Source, where
from components.data.tables import Table, joined
from components.errors import ConfigError, DataGateError, did_you_mean


class Collected(NamedTuple):
    """Tables by name, the sources with the versions that were read, and what a manifest says about them."""

    tables: dict[str, Table]
    sources: list[Source]
    manifest: dict[str, Any]


def collect_rows(train: Sequence[Source], val: Sequence[Source], data: Data, workspace: Path) -> Collected:
    """Read the training and validation sources; take, split and mix their rows as `data` says: tables train and val.

    Raises:
        DataGateError: a file that is malformed, not UTF-8, or has no rows; the file and the line are named.
        ConfigError: a placeholder without a value, a column to rename that no dataset has, an unknown hub id.
        MartletError: a hub that does not answer.
    """
    loader = _Loader(data, workspace)
    parts: dict[str, list[Table]] = {"train": [], "val": []}
    sources, described = [], []
    for name, source in [*(("train", s) for s in train), *(("val", s) for s in val)]:
        rows = loader.load(source)
        ratio = 0.0 if val else data.split_dataset_ratio
        taken, held = split(len(rows.table.row), source.rows, ratio, data.data_seed)
        parts[name].append(rows.table.take(taken))
        parts["val"].append(rows.table.take(held))
        sources.append(rows.source)
        described.append(rows.description() | {"split": name, "taken": len(taken), "held_out": len(held)})
    loader.check_columns()
    tables = {name: joined(tables) for name, tables in parts.items()}
    if data.dataset_shuffle:
        train_rows = tables["train"]
        tables["train"] = train_rows.take(shuffled(len(train_rows.row), data.data_seed))
    counts = {name: len(table.row) for name, table in tables.items()}
    return Collected(tables, sources, {"rows": counts, "sources": described})


def collect_questions(sources: Sequence[Source], data: Data, workspace: Path) -> Collected:
    """Read the question sets: tables named after their files, whose `raw` is `{query, response}`.

    Raises:
        ConfigError: two sets of the same name.
        DataGateError: a row that is not one question and its answer; and as `collect_rows`.
    """
    loader = _Loader(data, workspace)
    tables: dict[str, Table] = {}
    read_from, described = [], []
    for source in sources:
        name = source.name.rpartition("/")[2] if source.hub else Path(source.name).stem
        if name in tables:
            raise ConfigError(f"eval_dataset: two question sets are called '{name}'; rename one of the files")
        rows = loader.load(source)
        table = rows.table.take(split(len(rows.table.row), source.rows, 0.0, data.data_seed)[0])
        questions = [_question(raw, where(source.name, row)) for row, raw in zip(table.row, table.raw, strict=True)]
        tables[name] = table._replace(raw=questions)
        read_from.append(rows.source)
        described.append(rows.description() | {"set": name, "taken": len(questions)})
    return Collected(tables, read_from, {"sources": described})


def _question(raw: str, where: str) -> str:
    import orjson

    try:
        turns = to_messages(orjson.loads(raw))
    except ValueError as error:
        raise DataGateError(f"{where}: {error}") from error
    roles = [turn["role"] for turn in turns]
    if roles != ["user", "assistant"]:
        found = ", ".join(roles) or "nothing"
        raise DataGateError(f"{where}: an evaluation row is one question and its answer, not {found}")
    query, response = (turn["content"] for turn in turns)
    for name, text in (("question", query), ("answer", response)):
        if not text.strip():
            raise DataGateError(f"{where}: the {name} is empty")
    return orjson.dumps({"query": query, "response": response}).decode()


class _Rows(NamedTuple):
    """All rows of one source, before any are taken; `source.version` is known."""

    source: Source
    table: Table
    licence: str | None

    def description(self) -> dict[str, Any]:
        source = self.source
        version = "revision" if source.hub else "sha256"
        named = {"spec": source.spec, "name": source.name, "hub": source.hub, version: source.version}
        return named | {"licence": self.licence, "rows": len(self.table.row)}


class _Loader:
    """Reads sources with one set of renames and placeholders, and sees which renames were of use."""

    def __init__(self, data: Data, workspace: Path) -> None:
        self.workspace = workspace
        self.columns: Mapping[str, str] = data.columns
        self.fill = filler(data.model_name, data.model_author)
        self.unused, self.seen = set(data.columns), set[str]()

    def load(self, source: Source) -> _Rows:
        import orjson

        licence = None
        if source.hub is None:
            numbered = read(self.workspace / Path(source.name).expanduser(), source.name)
        else:
            found = snapshot(source.hub, source.name, source.version)
            source, licence = replace(source, version=found.revision), found.licence
            numbered = _numbered_through(found.files, source.name)
        table = Table([], [], [])
        for number, row in numbered:
            renamed = self._rename(row) if self.columns else row
            table.row.append(number)
            table.raw.append(self.fill(orjson.dumps(renamed, default=str).decode(), where(source.name, number)))
        if not table.row:
            raise DataGateError(f"{source.name}: the dataset is empty; it needs at least one row")
        table.source.extend([source.spec] * len(table.row))
        return _Rows(source, table, licence)

    def _rename(self, row: dict[str, Any]) -> dict[str, Any]:
        self.unused -= row.keys()
        self.seen |= row.keys()
        return {self.columns.get(key, key): value for key, value in row.items()}

    def check_columns(self) -> None:
        for column in sorted(self.unused):
            raise ConfigError(f"columns: no dataset has a column '{column}'{did_you_mean(column, self.seen)}")


def _numbered_through(files: Sequence[Path], name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a repository's files, numbered from 1 across all of them."""
    rows = (row for file in files for _, row in read(file, f"{name}/{file.name}"))
    return enumerate(rows, 1)
