"""The faults of a file, as one message."""

from collections.abc import Callable
from typing import Any, NoReturn

from components.data.secrets import mask_secrets
from components.errors import DataGateError

_CONTEXT_CHARS = 4096
"""Characters on either side of a fault in which secrets are looked for before the excerpt is cut."""
_EXCERPT_CHARS = 30
"""Characters of an excerpt on either side of the fault."""


class Faults:
    """The first fault of a file, and a count of the others.

    Args:
        name: what the user calls the file.
        on_fault: called with the number and the reason of each malformed row, which is then skipped.
    """

    def __init__(self, name: str, on_fault: Callable[[int, str], None] | None = None) -> None:
        self.name, self.on_fault, self.first, self.count = name, on_fault, "", 0

    def add(self, number: int, reason: str) -> None:
        """Add a malformed row, behind which the next can be read."""
        if self.on_fault:
            self.on_fault(number, reason)
            return
        self.first = self.first or f"{self.name}:{number}: {reason}"
        self.count += 1

    def stop(self) -> None:
        """End the file.

        Raises:
            DataGateError: there were faults.
        """
        if self.count:
            others = self.count - 1
            more = f"; {others} more {'row is' if others == 1 else 'rows are'} malformed" if others else ""
            raise DataGateError(f"{self.first}{more}; mend the file and run again")

    def refuse(self, number: int, reason: str) -> NoReturn:
        """Refuse a file behind whose fault nothing more can be read.

        Raises:
            DataGateError: always.
        """
        self.on_fault = None
        self.add(number, reason)
        self.stop()
        raise AssertionError

    def is_object(self, number: int, row: Any) -> bool:
        """Return whether a row is an object; add a fault where it is none."""
        if not isinstance(row, dict):
            self.add(number, f"a row must be an object {{…}}, not {kind_of_value(row)}")
        return isinstance(row, dict)

    def not_utf8(self, number: int, byte: int, where: str) -> NoReturn:
        """Refuse a file for its encoding.

        Raises:
            DataGateError: always.
        """
        raise DataGateError(f"{self.name}:{number}: not UTF-8: byte 0x{byte:02x} at {where}; convert the file to UTF-8")


def kind_of_value(value: Any) -> str:
    """Return what a person calls a JSON value."""
    names = {list: "a list", str: "a string", bool: "true or false", int: "a number", float: "a number"}
    return "an object" if isinstance(value, dict) else names.get(type(value), "null")


def excerpt(text: str, position: int) -> str:
    """Return the text around a fault, on one line, without secrets."""
    before, after = text[max(0, position - _CONTEXT_CHARS) : position], text[position : position + _CONTEXT_CHARS]
    return repr((mask_secrets(before)[-_EXCERPT_CHARS:] + mask_secrets(after)[:_EXCERPT_CHARS]).strip())
