"""What is wrong with a file, in one message."""

from collections.abc import Callable
from typing import Any, NoReturn

from components.data.secrets import masked
from components.errors import DataGateError

_NEAR = 4096
"""Characters on either side in which secrets are looked for before the excerpt is cut."""
_AROUND = 30


class Faults:
    """The first fault of a file, and a count of the others; with `tell`, each malformed row is told and passed over."""

    def __init__(self, name: str, tell: Callable[[int, str], None] | None = None) -> None:
        self.name, self.tell, self.first, self.count = name, tell, "", 0

    def add(self, number: int, reason: str) -> None:
        """A row is malformed, and the next can be read."""
        if self.tell:
            self.tell(number, reason)
            return
        self.first = self.first or f"{self.name}:{number}: {reason}"
        self.count += 1

    def stop(self) -> None:
        """Raises: DataGateError: when there were faults."""
        if self.count:
            others = self.count - 1
            more = f"; {others} more {'row is' if others == 1 else 'rows are'} malformed" if others else ""
            raise DataGateError(f"{self.first}{more}; mend the file and run again")

    def refuse(self, number: int, reason: str) -> NoReturn:
        """A fault behind which nothing more can be read. Raises: DataGateError."""
        self.tell = None
        self.add(number, reason)
        self.stop()
        raise AssertionError

    def is_object(self, number: int, row: Any) -> bool:
        if not isinstance(row, dict):
            self.add(number, f"a row must be an object {{…}}, not {kind_of_value(row)}")
        return isinstance(row, dict)

    def not_utf8(self, number: int, byte: int, where: str) -> NoReturn:
        """Refuse a file for its encoding. Raises: DataGateError."""
        raise DataGateError(f"{self.name}:{number}: not UTF-8: byte 0x{byte:02x} at {where}; convert the file to UTF-8")


def kind_of_value(value: Any) -> str:
    """What a person calls a JSON value."""
    names = {list: "a list", str: "a string", bool: "true or false", int: "a number", float: "a number"}
    return "an object" if isinstance(value, dict) else names.get(type(value), "null")


def excerpt(text: str, position: int) -> str:
    """The text round a fault, on one line, without secrets."""
    before, after = text[max(0, position - _NEAR) : position], text[position : position + _NEAR]
    return repr((masked(before)[-_AROUND:] + masked(after)[:_AROUND]).strip())
