"""A look at the tokens that a training is about to learn from: one row, their lengths, and how many steps they make."""

from collections import Counter
from typing import Any, NamedTuple

from components import models, training
from components.classes import REGRESSION, name_of, printable
from components.config import Params
from components.files import read_json
from components.rows import number_of
from components.tokens import TokenRows
from tasks.looking.rows import Looked, samples_of
from tasks.stages.paths import Paths

MOST_CLASSES = 20
"""Classes that are counted one by one on the screen."""
CANDIDATES = 64
"""Rows of which the shortest is shown, so that it fits a screen."""


class Preview(NamedTuple):
    """What a training will see.

    Attributes:
        tokenizer: of the model.
        row: a short row.
        lengths: of all samples, in tokens.
        learned: the share of the tokens that is learned; None where rows have no tokens to learn.
        targets: what the rows say of their texts, in a line; "" where tokens are learned.
        steps: optimizer steps of the whole run.
    """

    tokenizer: Any
    row: Looked
    lengths: Any
    learned: float | None
    targets: str
    steps: int


def preview(params: Params, paths: Paths) -> Preview:
    """Return a look at the token file of `paths`."""
    rows = TokenRows(paths.tokens / "train.arrow")
    first = range(min(len(rows), CANDIDATES))
    with_media = [number for number in first if rows.has_media and rows[number]["media"]]
    shown = min(with_media or first, key=lambda number: rows.lengths[number])
    source, _, number = rows.origin(shown).rpartition(", row ")
    tokenizer = models.load_tokenizer(models.folder(read_json(paths.model), paths.workspace))
    row = Looked(source, int(number), samples_of(rows[shown]), "")
    describe = {"classification": _classes, "pair": _pairs}.get(rows.shape)
    learned = None if describe else float(rows.learned().sum() / rows.lengths.sum())
    targets = describe(rows, params) if describe else ""
    return Preview(tokenizer, row, rows.lengths, learned, targets, training.steps(params, rows))


def _classes(rows: TokenRows, params: Params) -> str:
    """Return how many rows there are of each class, the most frequent first, or of numbers their range."""
    labels = [one for label in rows.targets() for one in (label if isinstance(label, list) else [label])]
    is_decimal = any(isinstance(one, float) for one in labels)
    problem_type = params.classification.problem_type or (REGRESSION if is_decimal else None)
    numbers = [number for one in labels if (number := number_of(one)) is not None]
    if problem_type == REGRESSION and numbers:
        hint = "; --problem_type single_label_classification takes whole numbers for classes"
        are_whole = is_decimal and not params.classification.problem_type and all(map(float.is_integer, numbers))
        return f"numbers to estimate: {min(numbers):g} to {max(numbers):g}{hint * are_whole}"
    counts = Counter(map(name_of, labels)).most_common()
    more = f" and {len(counts) - MOST_CLASSES:,} more" if len(counts) > MOST_CLASSES else ""
    return f"classes: {', '.join(f'{printable(name)} {count:,}' for name, count in counts[:MOST_CLASSES])}{more}"


def _pairs(rows: TokenRows, _: Params) -> str:
    """Return how many pairs and negatives there are, and the range of the scores."""
    negatives = f", negatives {count:,}" if (count := rows.negatives()) else ""
    scores = [score for score in rows.scores() if score is not None]
    return f"pairs: {len(rows):,}{negatives}" + (f", scores {min(scores):g} to {max(scores):g}" if scores else "")
