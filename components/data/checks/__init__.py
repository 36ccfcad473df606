"""What rows must hold to be learned from: one file a check, found by its name in `validation.on_<name>`.

The first line of a check's docstring is what the report says of it. A check on single rows is a function

    look(batch, context) -> failures                    batch: `Batch`, some thousand rows as flat columns

A check on all rows together sees them twice, and keeps a few bytes of each:

    KEPT                                                a NumPy type: what is kept of a row
    keep(batch, context) -> an array of KEPT            appended to a file
    judge(file, roster, context) -> failures            afterwards, over all rows that the checks before it left

A million rows are never in memory together, nor is anything of Python's for each of them.
"""

import importlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from types import ModuleType
from typing import NamedTuple

from components.config.groups.validation import Validation
from components.data.checks.batch import Batch
from components.data.checks.roster import Roster

__all__ = ["ALL", "Batch", "Context", "Failure", "Failures", "Roster", "checks", "promise"]

ALL = -1
"""The index of a failure of all rows together, which nothing can drop."""


class Failure(NamedTuple):
    """A row that fails, by its index in the batch or in the roster (`ALL`: no row alone is at fault), and why.

    `bit` is the offending piece of the row's text, which the report marks. `mild` is never more than a warning.
    """

    row: int
    reason: str
    bit: str = ""
    mild: bool = False


Failures = Iterable[Failure]


@dataclass(frozen=True)
class Context:
    """What checks compare rows with: the parameters, the queries of each question set, the tokenizer's special tokens.

    `has_val` is whether there are validation rows.
    """

    validation: Validation
    questions: Mapping[str, list[str]] = field(default_factory=dict)
    special: Sequence[str] = ()
    has_val: bool = False

    def action(self, check: str) -> str:
        """What happens to a row that fails `check`."""
        return getattr(self.validation, f"on_{check}")

    def changed(self, **actions: str) -> "Context":
        """The same with other parameters."""
        return replace(self, validation=self.validation.model_copy(update=actions))


@cache
def checks() -> dict[str, ModuleType]:
    """Every check by name, in the order in which they run: those on single rows, then those on all together.

    A row is named by the first that leaves it out.
    """
    names = [name.removeprefix("on_") for name in Validation.model_fields if name.startswith("on_")]
    modules = {name: importlib.import_module(f"{__name__}.{name}") for name in names}
    return dict(sorted(modules.items(), key=lambda item: hasattr(item[1], "judge")))


def promise(check: ModuleType) -> str:
    """What holds of rows that pass, in a sentence."""
    return (check.__doc__ or "").partition("\n")[0]
