"""The words of a command line: flags, generated from the schema, and settings `key=value`."""

import argparse
import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from glob import glob
from pathlib import Path
from typing import Any

from components.config.elsewhere import answer, unknown
from components.config.load import Layer, read_flags, read_overrides, resolve
from components.config.schema import CANONICAL, GROUPS, LEAVES, Leaf
from components.errors import did_you_mean

_METAVARS = {list: "X", bool: "true|false", int: "N", float: "F", dict: "JSON"}

LONGEST_METAVAR = 50
"""Characters of the values of a flag that stand behind its name in the help; more of them stand in the text, as do
those of a flag that takes several."""


def is_taken(leaf: Leaf, names: Iterable[str]) -> bool:
    """Return whether `names`, groups (`lora`) or single parameters (`lora.lora_rank`), include the parameter `leaf`."""
    return leaf.group in names or f"{leaf.group}.{leaf.name}" in names


def add_flags(parser: argparse.ArgumentParser, names: Iterable[str]) -> None:
    """Add a flag to `parser` for each parameter that `names` include."""
    for group, model in GROUPS.items():
        leaves = [LEAVES[n] for n in model.model_fields if is_taken(LEAVES[n], names)]
        if leaves:
            section = parser.add_argument_group(group, inspect.getdoc(model))
            for leaf in leaves:
                _add_flag(section, leaf)


def _add_flag(section: argparse._ArgumentGroup, leaf: Leaf) -> None:
    default = "" if leaf.default in (None, [], {}) else f" [{_as_text(leaf.default)}]"
    choices = "|".join(leaf.choices)
    listed = f": {', '.join(leaf.choices)}" if choices and (leaf.kind is list or len(choices) > LONGEST_METAVAR) else ""
    many: dict[str, Any] = {list: {"nargs": "+"}, bool: {"nargs": "?", "const": "true"}}.get(leaf.kind, {})
    section.add_argument(
        *(f"--{name}" for name in (leaf.name, *leaf.aliases)),
        dest=leaf.name,
        default=argparse.SUPPRESS,
        metavar=(not listed and choices) or _METAVARS.get(leaf.kind, "X"),
        help=((leaf.info.description or "") + listed + default).replace("%", "%%"),
        **many,
    )


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def parse(
    parser: argparse.ArgumentParser, words: Sequence[str], takers: Callable[[str], list[str]] = lambda _: []
) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Parse `words`; return the parser's own arguments, and the values of the parameters by leaf name.

    A parameter is a flag (`--lora_rank 8`, `--lora-rank=8`, `--lora.lora_rank 8`) or a setting (`lora_rank=8`,
    `lora.lora_rank=8`), wherever it stands.

    Args:
        takers: returns the commands that take a parameter, for the answer where this command does not.

    Raises:
        ConfigError: naming every unknown flag and setting, with what to type instead, and every wrong value.
    """
    own = {action.dest for action in _options(parser).values()} & LEAVES.keys()
    rest, settings = _split([_plain(word) for word in words], parser)
    namespace, unexpected = parser.parse_known_intermixed_args(rest)
    values = {name: getattr(namespace, name) for name in own if hasattr(namespace, name)}
    overrides = read_overrides(settings)
    problems = [*overrides.problems, *_problems(unexpected, parser, takers)]
    for name, setting in overrides.values.items():
        if name in values:
            problems.append(f"{setting.where}: given twice, also as --{name}")
        elif name not in own:
            problems.append(_misplaced(setting.where, name, parser, takers))
        values[name] = setting.value
    if problems:
        resolve(Layer(read_flags(values).values, problems))  # adds the problems of the valid flags
    return namespace, values


def _options(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Return the actions of the parser by flag."""
    # Private: argparse has no public list of a parser's flags, as of Python 3.14.
    return parser._option_string_actions


def _plain(word: str) -> str:
    """Return a flag with underscores for dashes, and without the group of its parameter."""
    if not word.startswith("--"):
        return word
    flag, equals, value = word.partition("=")
    name = flag[2:].replace("-", "_")
    group, _, leaf = name.rpartition(".")
    is_grouped = leaf in CANONICAL and LEAVES[CANONICAL[leaf]].group == group
    return f"--{leaf if is_grouped else name}{equals}{value}"


def _split(words: list[str], parser: argparse.ArgumentParser) -> tuple[list[str], list[str]]:
    """Return the words for argparse, and the settings among `words`: `key=value` where no flag waits for its value.

    Among the further values of a flag that takes several, only names of parameters are settings, and never files; after
    a flag of the data also near misses of such names, and names that are known elsewhere. A recipe comes first among
    the words for argparse, which would else take `recipe.yaml` behind `--report_to none` for another tracker.
    """
    takes_recipe = any(action.dest == "recipe" for action in parser._actions)  # as `_options`
    recipes: list[str] = []
    rest: list[str] = []
    settings: list[str] = []
    needed, more, data = 0, False, False  # values that the last flag needs; whether it takes more; and is of the data
    for word in words:
        key = re.match(r"(?:[A-Za-z]\w*\.)?([A-Za-z][\w-]*)=", word)
        if word.startswith("--"):
            action = _options(parser).get(word)  # None for `--flag=value` too
            needed = int(action is not None and action.nargs in (None, "+"))
            more = action is not None and action.nargs == "+"
            data = action is not None and action.dest in LEAVES and LEAVES[action.dest].group == "data"
        elif needed:
            needed = 0
        elif takes_recipe and word.endswith((".yaml", ".yml")):
            recipes.append(word)
            continue
        elif key and not _is_there(word) and (not more or _may_be_parameter(key[1].replace("-", "_"), data)):
            settings.append(word)
            continue
        rest.append(word)
    return [*recipes, *rest], settings


def _is_there(word: str) -> bool:
    """Return whether a word names files, also as a pattern."""
    return Path(word).exists() or bool(glob(word))  # noqa: PTH207 - Path.glob refuses patterns such as a**


def _may_be_parameter(name: str, also_misspelt: bool) -> bool:
    return name in CANONICAL or (also_misspelt and bool(answer(name) or did_you_mean(name, CANONICAL)))


def _problems(unexpected: list[str], parser: argparse.ArgumentParser, takers: Callable[[str], list[str]]) -> list[str]:
    """Return a sentence for each unknown flag, or, where there is none, for each unexpected word."""
    names = [word[2:].partition("=")[0] for word in unexpected if word.startswith("--")]
    if not names:
        return [_unexpected(word, parser) for word in unexpected]
    valid = [option.lstrip("-") for option in _options(parser)]
    return [
        _misplaced(f"--{name}", CANONICAL[name], parser, takers)
        if name in CANONICAL
        else unknown("flag", f"--{name}", name.rpartition(".")[2], valid)
        for name in names
    ]


def _misplaced(where: str, name: str, parser: argparse.ArgumentParser, takers: Callable[[str], list[str]]) -> str:
    others = ", ".join(f"`martlet {command}`" for command in takers(name))
    return f"{where}: not a parameter of `{parser.prog}`" + (f" but of {others}" if others else "")


def _unexpected(word: str, parser: argparse.ArgumentParser) -> str:
    name = word.strip("-:").partition("=")[0].replace("-", "_")
    if f"--{name}" in _options(parser):
        return f"unexpected '{word}': write --{name} VALUE" + (f" or {name}=VALUE" if name in CANONICAL else "")
    return f"unexpected '{word}'{did_you_mean(word, (option.lstrip('-') for option in _options(parser)))}"
