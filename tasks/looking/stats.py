"""Figures on the tokens of a dataset."""

from pathlib import Path
from typing import Any, NamedTuple

from components import training
from components.config import Params
from components.files import read_json
from components.tokens import TokenRows
from tasks.looking.folder import folder, report_kept
from tasks.stages import fetch, reuse


class Stats(NamedTuple):
    """Figures on the tokens of a dataset.

    Attributes:
        fetched: the result of the stage fetch.
        checked: the result of the stage validate.
        tokens: the result of the stage template.
        checks: of the data gate.
        reasons: how many rows were refused, by reason.
        lengths: of all samples, in tokens.
        sources: by source the samples, tokens and learned tokens.
        longer_wins: the share of pairs whose chosen answer is the longer one; None without pairs.
        fill: the share of a batch that is no padding, by the way in which batches are made.
    """

    fetched: dict[str, Any]
    checked: dict[str, Any]
    tokens: dict[str, Any]
    checks: list[dict[str, Any]]
    reasons: dict[str, int]
    lengths: Any
    sources: dict[str, dict[str, int]]
    longer_wins: float | None
    fill: dict[str, float]


def stats(params: Params, workspace: Path) -> Stats:
    """Return figures on the datasets after fetch, gate and template.

    Raises:
        DataGateError: the gate closed; its report is kept as .martlet/data.html.
    """
    import numpy as np

    with folder(params, workspace) as (params, paths):
        fetched = fetch.run(params, paths)
        with report_kept(paths):
            checked = reuse.run("validate", params, paths)
        tokens = reuse.run("template", params, paths)
        token_rows = TokenRows(paths.tokens / "train.arrow")
        lengths, sources = np.array(token_rows.lengths), _by_source(token_rows)
        reasons = read_json(paths.tokens / "template.json")["reasons"]
        report = read_json(paths.reports / "data.json")
    capacity = None if token_rows.has_media else params.template.max_length  # rows with media are not packed
    fill = _fill(lengths, params.train.per_device_train_batch_size, capacity, params.data.data_seed)
    checks, longer_wins = report["checks"], report["longer_wins"]
    return Stats(fetched, checked, tokens, checks, reasons, lengths, sources, longer_wins, fill)


def _by_source(rows: TokenRows) -> dict[str, dict[str, int]]:
    """Return the samples, tokens and learned tokens of each source."""
    import numpy as np

    learned, names = rows.learned(), np.array(rows.sources())
    sources: dict[str, dict[str, int]] = {}
    for name in dict.fromkeys(names.tolist()):
        of_name = names == name
        sources[name] = {
            "samples": int(of_name.sum()),
            "tokens": int(rows.lengths[of_name].sum()),
            "learned": int(learned[of_name].sum()),
        }
    return sources


def _fill(lengths: Any, batch_size: int, capacity: int | None, seed: int) -> dict[str, float]:
    """Return the share of a batch that is no padding, by the way in which batches are made; None as the `capacity` of
    packs leaves packing out."""
    import numpy as np

    shuffled = np.random.default_rng(seed).permutation(lengths)
    fill = {
        f"padded batches of {batch_size} (--per_device_train_batch_size)": _padded(shuffled, batch_size),
        "the same, grouped by length": _padded(np.sort(lengths), batch_size),
    }
    if capacity:
        _, bounds = training.pack(lengths, capacity)
        fill[f"packed into {capacity:,} tokens"] = float(lengths.sum() / ((len(bounds) - 1) * capacity))
    return fill


def _padded(lengths: Any, size: int) -> float:
    import numpy as np

    groups = np.split(lengths, range(size, len(lengths), size))
    return float(lengths.sum() / sum(len(group) * group.max() for group in groups))
