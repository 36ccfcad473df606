"""What the checks say of one batch of rows: worked out in any process, taken by the gate in order."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

from components.data.canonical import Place, canonical
from components.data.checks import Batch, Context, Failure, checks, language
from components.parallel import no_garbage

if TYPE_CHECKING:
    import numpy as np


class Seen(NamedTuple):
    """What the checks on single rows said of a batch, and what is kept of it for those on all rows.

    `batch` has its Arrow columns only, for it goes from one process to another.
    """

    batch: Batch
    sizes: "np.ndarray"
    languages: "np.ndarray | None"
    failures: dict[str, list[Failure]]
    kept: dict[str, bytes]


def see(raw: Path, context: Context, place: Place) -> Seen:
    """Read a row group of raw rows and look at it."""
    with no_garbage():
        return look(context, *canonical(raw, place))


def look(context: Context, batch: Batch, unreadable: Mapping[int, str]) -> Seen:
    """Put a batch through the checks that are not ignored; `unreadable` says why some of its rows could not be read."""
    failures = {"schema": [Failure(i, reason) for i, reason in unreadable.items()]}
    kept: dict[str, bytes] = {}
    for name, check in active(context).items():
        if hasattr(check, "judge"):
            kept[name] = check.keep(batch, context).tobytes()
        else:
            failures.setdefault(name, []).extend(check.look(batch, context))
    languages = language.guess(batch) if "language" in active(context) else None
    return Seen(Batch(batch.split, batch.start, [], batch.arrow), batch.sizes, languages, failures, kept)


def active(context: Context) -> dict[str, ModuleType]:
    """The checks that are not ignored. What no format can read is always looked for."""
    return {name: check for name, check in checks().items() if name == "schema" or context.action(name) != "ignore"}
