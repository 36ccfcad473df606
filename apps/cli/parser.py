"""The parser of a command's words: its help fits the terminal, and its errors are `ConfigError`s."""

import argparse
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from types import ModuleType

from components.config import add_flags
from components.errors import ConfigError

MAX_WIDTH = 100
"""Columns of a help text on a wide terminal."""
LITERAL_LINE = re.compile(r"\s|martlet |curl |prefect ")
"""Start of a line of a docstring that is shown as it stands: an example."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are `ConfigError`s."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise ConfigError(f"{message}; `{self.prog} --help` shows the flags")


def parser_of(name: str, command: ModuleType) -> Parser:
    """Return the parser of a command, from its module: docstring, own arguments and parameters."""
    parameters: Iterable[str] = getattr(command, "PARAMETERS", ())
    parser = Parser(prog=f"martlet {name}", description=command.__doc__, allow_abbrev=False, formatter_class=_Formatter)
    command.add_arguments(parser)
    if parameters:
        own = " ".join(parser.format_usage().split()[1:])
        parser.usage = textwrap.fill(f"{own} [flags]", 72, subsequent_indent="  ", break_on_hyphens=False)
    add_flags(parser, parameters)
    return parser


class _Formatter(argparse.HelpFormatter):
    """Wraps paragraphs but not examples, breaks no word at a hyphen, and shows the placeholder of a value once."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._width = min(self._width, MAX_WIDTH)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n\n".join(self._paragraph(paragraph, width, indent) for paragraph in text.strip("\n").split("\n\n"))

    def _paragraph(self, paragraph: str, width: int, indent: str) -> str:
        if LITERAL_LINE.match(paragraph):
            return "\n".join(indent + line for line in self._examples(paragraph.splitlines(), width))
        return textwrap.fill(paragraph, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)

    @staticmethod
    def _examples(lines: Iterable[str], width: int) -> Iterator[str]:
        """Yield lines of examples; what explains a command stands below the command where the line is too long."""
        for line in lines:
            command, gap, explanation = re.match(r"(\s*\S(?:\s?\S)*)(\s{2,}|$)(.*)", line).groups()  # type: ignore[union-attr]
            if gap and len(line) > width:
                yield command
                yield from textwrap.wrap(explanation, width, initial_indent=" " * 6, subsequent_indent=" " * 6)
            else:
                yield line

    def _split_lines(self, text: str, width: int) -> Sequence[str]:  # type: ignore[override]
        return textwrap.wrap(text, width, break_on_hyphens=False)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        values = self._format_args(action, self._get_default_metavar_for_optional(action))
        flags = ", ".join(action.option_strings)
        is_long = self._current_indent + len(f"{flags} {values}") > self._width
        return f"{flags}\n{' ' * (self._current_indent + 4)}{values}" if is_long else f"{flags} {values}"
