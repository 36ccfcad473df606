"""What the checks say of one batch of rows: computed in any process, collected by the gate in order."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from components.data.canonical import RowGroup, canonical_rows
from components.data.check_list import is_active, row_checks, set_checks
from components.data.checks import Batch, Context, Failure, language, pairs
from components.parallel import no_garbage

if TYPE_CHECKING:
    import numpy as np


class BatchReport(NamedTuple):
    """The results of the checks on a batch.

    Attributes:
        batch: the batch with its Arrow columns only, since it is sent between processes.
        sizes: characters of each row.
        languages: the language of each row (`language.guess`), or None where languages are not looked for.
        longer: of each row which answer is longer (`pairs.longer`), or None where no row is a pair.
        failures: check to its failures, of the checks on single rows.
        records: check to the bytes of its records, of the checks on all rows.
    """

    batch: Batch
    sizes: "np.ndarray"
    languages: list[str] | None
    longer: "np.ndarray | None"
    failures: dict[str, list[Failure]]
    records: dict[str, bytes]


def check_row_group(raw: Path, context: Context, group: RowGroup) -> BatchReport:
    """Read a row group of raw rows and check it."""
    with no_garbage():
        return check_batch(context, *canonical_rows(raw, group))


def check_batch(context: Context, batch: Batch, unreadable: Mapping[int, str]) -> BatchReport:
    """Run the active checks over a batch.

    Args:
        unreadable: rows that no format could read, by index, with the reason.
    """
    failures = {"schema": [Failure(i, reason) for i, reason in unreadable.items()]}
    for name, check in row_checks().items():
        if is_active(name, context):
            failures.setdefault(name, []).extend(check.check_rows(batch, context))
    records = {
        name: check.records(batch, context).tobytes()
        for name, check in set_checks().items()
        if is_active(name, context)
    }
    languages = language.guess(batch) if is_active("language", context) else None
    sent = Batch(batch.split, batch.start, [], batch.arrow)
    return BatchReport(sent, batch.sizes, languages, pairs.longer(batch), failures, records)
