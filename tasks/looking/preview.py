"""A look at the tokens that a training is about to learn from: one row, their lengths, and how many steps they make."""

from collections import Counter
from typing import Any, NamedTuple

from components import models, training
from components.classes import name_of
from components.config import Params
from components.files import read_json
from components.tokens import TokenRows
from tasks.looking.rows import Looked, samples_of
from tasks.stages.paths import Paths

CANDIDATES = 64
"""Rows of which the shortest is shown, so that it fits a screen."""


class Preview(NamedTuple):
    """What a training will see.

    Attributes:
        tokenizer: of the model.
        row: a short row.
        lengths: of all samples, in tokens.
        learned: the share of the tokens that is learned; None where rows have no tokens to learn.
        classes: how many rows there are of each class.
        steps: optimizer steps of the whole run.
    """

    tokenizer: Any
    row: Looked
    lengths: Any
    learned: float | None
    classes: dict[str, int]
    steps: int


def preview(params: Params, paths: Paths) -> Preview:
    """Return a look at the token file of `paths`."""
    rows = TokenRows(paths.tokens / "train.arrow")
    shown = int(rows.lengths[:CANDIDATES].argmin())
    source, _, number = rows.origin(shown).rpartition(", row ")
    tokenizer = models.load_tokenizer(models.folder(read_json(paths.model), paths.workspace))
    row = Looked(source, int(number), samples_of(rows[shown]), "")
    has_labels = rows.shape not in ("classification", "pair")
    learned = float(rows.learned().sum() / rows.lengths.sum()) if has_labels else None
    classes = _classes(rows) if rows.shape == "classification" else {}
    return Preview(tokenizer, row, rows.lengths, learned, classes, training.steps(params, rows))


def _classes(rows: TokenRows) -> dict[str, int]:
    """Return how many rows there are of each class, the most frequent first; {} where labels are decimal numbers."""
    labels = [one for label in rows.targets() for one in (label if isinstance(label, list) else [label])]
    if any(isinstance(one, float) for one in labels):
        return {}
    return dict(Counter(map(name_of, labels)).most_common())
