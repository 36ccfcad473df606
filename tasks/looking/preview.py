"""A look at the tokens that a training is about to learn from: one row, their lengths, and how many steps they make."""

from typing import Any, NamedTuple

from components import models, training
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
        learned: the share of the tokens that is learned.
        steps: optimizer steps of the whole run.
    """

    tokenizer: Any
    row: Looked
    lengths: Any
    learned: float
    steps: int


def preview(params: Params, paths: Paths) -> Preview:
    """Return a look at the token file of `paths`."""
    rows = TokenRows(paths.tokens / "train.arrow")
    shown = int(rows.lengths[:CANDIDATES].argmin())
    source, _, number = rows.origin(shown).rpartition(", row ")
    tokenizer = models.load_tokenizer(models.folder(read_json(paths.model), paths.workspace))
    row = Looked(source, int(number), samples_of(rows[shown]), "")
    return Preview(
        tokenizer, row, rows.lengths, float(rows.learned().sum() / rows.lengths.sum()), training.steps(params, rows)
    )
