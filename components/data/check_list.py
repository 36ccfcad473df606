"""All checks by name, in the order in which they run: those on single rows, then those on all rows together.

Within each, the order is that of the fields `validation.on_<name>`. A row is named by the first check that leaves the
row out.
"""

from functools import cache

from components.config.groups.validation import Validation
from components.data.checks import ROW_CHECKS, Context, RowCheck
from components.data.set_checks import SET_CHECKS, SetCheck
from components.plugins import Kind


@cache
def row_checks() -> dict[str, RowCheck]:
    """Return the checks on single rows."""
    return {name: ROW_CHECKS.load(name) for name in _names(ROW_CHECKS)}


@cache
def set_checks() -> dict[str, SetCheck]:
    """Return the checks on all rows together."""
    return {name: SET_CHECKS.load(name) for name in _names(SET_CHECKS)}


def all_checks() -> dict[str, RowCheck | SetCheck]:
    """Return every check."""
    return {**row_checks(), **set_checks()}


def is_active(name: str, context: Context) -> bool:
    """Return whether a check runs: `ignore` turns it off, save that rows in no format are always looked for."""
    return name == "schema" or context.action(name) != "ignore"


def promise(check: RowCheck | SetCheck) -> str:
    """Return what holds of rows that pass, as one sentence: the first line of the check's docstring."""
    return (check.__doc__ or "").partition("\n")[0]


def _names(kind: Kind) -> list[str]:
    fields = [name.removeprefix("on_") for name in Validation.model_fields if name.startswith("on_")]
    return [name for name in fields if name in kind.names()]
