"""Figures on the tokens of a dataset."""

import shutil
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple

from components import training
from components.config import Params
from components.errors import DataGateError
from components.files import read_json
from tasks.looking.folder import folder
from tasks.stages import fetch, reuse

IGNORED = -100


class Stats(NamedTuple):
    """Figures on the tokens of a dataset: `lengths` of all samples, and by source the samples, tokens, and tokens
    learned; `fill` is the share of a batch that is no padding, by the way in which batches are made."""

    fetched: dict[str, Any]
    checked: dict[str, Any]
    tokens: dict[str, Any]
    checks: list[dict[str, Any]]
    reasons: dict[str, int]
    lengths: "Any"
    sources: dict[str, dict[str, int]]
    fill: dict[str, float]


def stats(params: Params, workspace: Path) -> Stats:
    """Take the datasets through fetch, gate and template, and count.

    Raises:
        DataGateError: the gate closed; its report is kept as data-report.html.
    """
    import numpy as np
    import pyarrow as pa

    with folder(params, workspace) as (params, paths):
        fetched = fetch.run(params, paths)
        try:
            checked = reuse.run("validate", params, paths)
        except DataGateError as error:
            kept = str(shutil.copy(paths.reports / "data.html", workspace / "data-report.html"))
            error.args = (str(error).replace(str(paths.reports / "data.html"), kept),)
            raise
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
        checks = read_json(paths.reports / "data.json")["checks"]
    whole = np.concatenate(lengths)
    counted = {name: dict(counts) for name, counts in sources.items()}
    fill = _fill(whole, params.train.per_device_train_batch_size, params.template.max_length, params.data.data_seed)
    return Stats(fetched, checked, tokens, checks, reasons, whole, counted, fill)


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
        f"padded batches of {batch_size} (--per_device_train_batch_size)": _padded(shuffled, batch_size),
        "the same, grouped by length": _padded(np.sort(lengths), batch_size),
        f"packed into {capacity:,} tokens": float(lengths.sum() / ((len(bounds) - 1) * capacity)),
    }


def _padded(lengths: Any, size: int) -> float:
    import numpy as np

    groups = np.split(lengths, range(size, len(lengths), size))
    return float(lengths.sum() / sum(len(group) * group.max() for group in groups))
