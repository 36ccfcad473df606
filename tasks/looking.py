"""Looking at data before anything is trained on it: what a row becomes, token by token; figures; two versions.

Works in a folder of its own that is removed again, and leaves no run behind.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from components import data, templates, training
from components.config import Params
from components.files import read_json
from components.rows import Row, read_batches
from tasks.stages import fetch, reuse, template
from tasks.stages.paths import Paths

IGNORED = -100


class Sample(NamedTuple):
    """What is learned in one go: `name` is chosen or rejected for a preference, completion for a judged answer."""

    name: str
    input_ids: list[int]
    labels: list[int]
    weights: list[float]


class Looked(NamedTuple):
    """One row of a dataset: its samples, or why it gives none."""

    source: str
    row: int
    samples: list[Sample]
    refused: str


@contextmanager
def rows(params: Params, workspace: Path) -> "Generator[tuple[Any, Iterator[Looked]]]":
    """Give the tokenizer, and the rows of the datasets in their order, each with what the model would learn.

    The data gate is not asked: rows that it would leave out are shown as well.
    """
    with _folder(params, workspace) as (params, paths):
        fetch.run(params, paths)
        chat = template.chat_template(params, paths)
        encoder = templates.Encoder(chat, params.template.max_length, params.template.truncation_strategy)
        yield chat.tokenizer, _looked(paths, encoder)


def _looked(paths: Paths, encoder: templates.Encoder) -> Iterator[Looked]:
    for batch in read_batches(paths.raw / "train.parquet", batch_size=256):
        read = [_read(raw) for raw in batch.column("raw").to_pylist()]
        parts = [
            (n, name, row) for n, found in enumerate(read) if isinstance(found, dict) for name, row in found.items()
        ]
        outcomes = encoder([row for _, _, row in parts]).listed(len(parts))
        samples: dict[int, list[Sample]] = defaultdict(list)
        refused = {n: found for n, found in enumerate(read) if isinstance(found, str)}
        for (n, name, _), outcome in zip(parts, outcomes, strict=True):
            if isinstance(outcome, templates.Refused):
                refused[n] = f"{outcome.reason}{f': {outcome.detail}' if outcome.detail else ''}"
            else:
                samples[n] += [Sample(name, *encoded) for encoded in outcome]
        places = zip(batch.column("source").to_pylist(), batch.column("row").to_pylist(), strict=True)
        for n, (source, row) in enumerate(places):
            yield Looked(source, row, [] if n in refused else samples[n], refused.get(n, ""))


def _read(raw: str) -> dict[str, Row] | str:
    """The conversations of a row by name; or why no format can read it."""
    import orjson

    try:
        row = data.to_row(orjson.loads(raw))
    except ValueError as error:
        return str(error)
    answers = [name for name in ("chosen", "rejected", "completion") if name in row]
    if not answers:
        return {"": row}
    beside = {key: value for key, value in row.items() if key not in ("prompt", "label", *answers)}
    asked = [{**m, "loss_scale": 0.0} if m["role"] == "assistant" else m for m in row.get("prompt", [])]
    return {name: {**beside, "messages": [*asked, *row[name]]} for name in answers}


class Stats(NamedTuple):
    """Figures on the tokens of a dataset: `lengths` of all samples, and by source the samples, tokens, and tokens
    learned; `fill` is the share of a batch that is no padding, by the way in which batches are made."""

    fetched: dict[str, Any]
    checked: dict[str, Any]
    tokens: dict[str, Any]
    reasons: dict[str, int]
    lengths: "Any"
    sources: dict[str, dict[str, int]]
    fill: dict[str, float]


def stats(params: Params, workspace: Path) -> Stats:
    """Take the datasets through fetch, gate and template, and count."""
    import numpy as np
    import pyarrow as pa

    with _folder(params, workspace) as (params, paths):
        fetched = fetch.run(params, paths)
        checked = reuse.run("validate", params, paths)
        tokens = reuse.run("template", params, paths)
        sources: dict[str, Counter[str]] = defaultdict(Counter)
        lengths: list[np.ndarray] = []
        with pa.OSFile(str(paths.tokens / "train.arrow")) as file:
            reader = pa.ipc.open_file(file)
            for n in range(reader.num_record_batches):
                batch = reader.get_batch(n)
                lengths.append(batch.column("length").to_numpy())
                _count(batch, sources)
        reasons = read_json(paths.tokens / "template.json")["reasons"]
    whole = np.concatenate(lengths)
    counted = {name: dict(counts) for name, counts in sources.items()}
    fill = _fill(whole, params.train.per_device_train_batch_size, params.template.max_length, params.data.data_seed)
    return Stats(fetched, checked, tokens, reasons, whole, counted, fill)


def _count(batch: Any, sources: dict[str, "Counter[str]"]) -> None:
    import numpy as np

    lengths = batch.column("length").to_numpy()
    labels = batch.column("labels")
    learned = np.concatenate([[0], np.cumsum(labels.flatten().to_numpy() != IGNORED)])
    ends = np.cumsum(lengths)
    per_row = learned[ends] - learned[ends - lengths]
    names = np.array(batch.column("source").to_pylist())
    for name in np.unique(names):
        own = names == name
        sources[str(name)].update(
            samples=int(own.sum()), tokens=int(lengths[own].sum()), learned=int(per_row[own].sum())
        )


def _fill(lengths: Any, batch_size: int, capacity: int, seed: int) -> dict[str, float]:
    import numpy as np

    shuffled = np.random.default_rng(seed).permutation(lengths)
    _, bounds = training.pack(lengths, capacity)
    return {
        f"padded batches of {batch_size}": _padded(shuffled, batch_size),
        "the same, grouped by length": _padded(np.sort(lengths), batch_size),
        f"packed into {capacity:,} tokens": float(lengths.sum() / ((len(bounds) - 1) * capacity)),
    }


def _padded(lengths: Any, size: int) -> float:
    import numpy as np

    groups = np.split(lengths, range(size, len(lengths), size))
    return float(lengths.sum() / sum(len(group) * group.max() for group in groups))


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
    with _folder(one, workspace) as (one, paths):
        fetch.rows(one, paths)
        for batch in read_batches(paths.raw / "train.parquet"):
            for number, raw in zip(batch.column("row").to_pylist(), batch.column("raw").to_pylist(), strict=True):
                plain = orjson.loads(raw)
                try:
                    row = data.to_row(plain)
                except ValueError:
                    row = plain
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


@contextmanager
def _folder(params: Params, workspace: Path) -> "Generator[tuple[Params, Paths]]":
    """A folder to work in, and the parameters with the rows in their own order and none held out."""
    asked = {"dataset_shuffle": False, "split_dataset_ratio": 0.0, "eval_dataset": []}
    params = params.model_copy(update={"data": params.data.model_copy(update=asked)})
    with TemporaryDirectory(prefix="martlet-data-") as folder:
        yield params, Paths(Path(folder), workspace)
