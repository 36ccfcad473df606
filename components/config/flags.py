"""Command-line flags, generated from the schema."""

import argparse
from collections.abc import Iterable
from typing import Any, get_args, get_origin

from components.config.load import Layer, read_flags, resolve
from components.config.schema import CANONICAL, GROUPS, LEAVES, Leaf
from components.errors import did_you_mean


def add_flags(parser: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """Add flags to `parser` for `names`: groups (`lora`) or single parameters (`lora.lora_rank`)."""
    for group, model in GROUPS.items():
        leaves = [LEAVES[n] for n in model.model_fields if group in names or f"{group}.{n}" in names]
        if leaves:
            section = parser.add_argument_group(group, (model.__doc__ or "").strip())
            for leaf in leaves:
                _add_flag(section, leaf)


def _add_flag(section: argparse._ArgumentGroup, leaf: Leaf) -> None:
    default = "" if leaf.default in (None, [], {}) else f" [{_as_text(leaf.default)}]"
    kind = _kind(leaf.info.annotation)
    many: dict[str, Any] = {}
    if kind is list:
        many = {"nargs": "+"}
    elif kind is bool:
        many = {"nargs": "?", "const": "true"}
    section.add_argument(
        *(f"--{name}" for name in (leaf.name, *leaf.aliases)),
        dest=leaf.name,
        default=argparse.SUPPRESS,
        metavar={list: "X", bool: "true|false", int: "N", float: "F", dict: "JSON"}.get(kind, "X"),
        help=((leaf.info.description or "") + default).replace("%", "%%"),
        **many,
    )


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def _kind(annotation: Any) -> type:
    """Return the plain type of an annotation: int for `int | None`, str for a Literal."""
    candidates = [annotation, *get_args(annotation)]
    for candidate in candidates:
        plain = get_origin(candidate) or candidate
        if plain in (list, dict, bool, int, float):
            return plain
    return str


def parse(parser: argparse.ArgumentParser, words: list[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Parse `words`; return the parser's own arguments, and the values of the parameters among the flags, by leaf name.

    Dashes and underscores in a flag are the same.

    Raises:
        ConfigError: naming every unknown flag, with the nearest valid one, and every wrong value.
    """
    namespace, unknown = parser.parse_known_intermixed_args([_underscored(word) for word in words])
    values = {name: getattr(namespace, name) for name in LEAVES if hasattr(namespace, name)}
    if unknown:
        # Private: argparse has no public list of a parser's flags, as of Python 3.14.
        valid = [option.lstrip("-") for option in parser._option_string_actions]
        names = [word[2:].partition("=")[0] for word in unknown if word.startswith("--")]
        problems = [f"unknown flag --{name}{did_you_mean(name, valid)}" for name in names]
        problems = problems or [f"unexpected '{word}'" for word in unknown]
        resolve(Layer(read_flags(values).values, problems))  # adds the problems of the valid flags
    return namespace, values


def _underscored(word: str) -> str:
    if not word.startswith("--"):
        return word
    name, equals, value = word[2:].partition("=")
    underscored = name.replace("-", "_")
    return f"--{underscored}{equals}{value}" if underscored in CANONICAL or "-" in name else word
