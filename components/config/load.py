"""From YAML, recipes, flags and overrides to `Params`, with every problem reported at once."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from components.config.schema import CANONICAL, GROUPS, LEAVES, Params
from components.errors import ConfigError, did_you_mean

FORMER_GROUPS = {"lora": "tuner", "plugins": "template"}
"""Group to the one that its parameters stood in once, and may still: files and checkpoints of then stay readable."""


class Given(NamedTuple):
    """A value that somebody wrote, and where: `params.yaml:12`, `--lora_rank`, `lora_rank=16`."""

    value: Any
    where: str


class Layer(NamedTuple):
    """What one source gives, by leaf name, and what was wrong with it."""

    values: dict[str, Given]
    problems: list[str]


def read_yaml(path: Path) -> Layer:
    """Read a params or recipe file: groups of parameters, or parameters by their own names.

    Raises:
        ConfigError: the file is missing or is not a YAML mapping.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    name = os.path.relpath(path)
    if not path.is_file():
        raise ConfigError(f"{name}: no such file")
    try:
        document: Any = YAML().load(path)  # type: ignore[reportUnknownMemberType]
    except MarkedYAMLError as error:
        mark: Any = error.problem_mark  # type: ignore[reportUnknownMemberType]
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{name}:{line}: not valid YAML: {error.problem}") from error
    except (UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{name}: not a text file in UTF-8: {error}") from error
    if document is None:
        return Layer({}, [])
    if not isinstance(document, Mapping):
        raise ConfigError(f"{name}:1: expected parameters by name (key: value), found {type(document).__name__}")
    return _flatten(document, name)


def _flatten(document: Any, name: str) -> Layer:
    """`document` is a mapping of ruamel.yaml's, which knows the line of each key."""
    layer = Layer({}, [])
    for key, value in document.items():
        if key in GROUPS and (value is None or isinstance(value, dict)):
            group: Any = value or {}
            for leaf in group:
                _give(layer, leaf, group[leaf], f"{name}:{group.lc.key(leaf)[0] + 1}", str(key))
        else:
            _give(layer, key, value, f"{name}:{document.lc.key(key)[0] + 1}")
    return layer


def _give(layer: Layer, key: Any, value: Any, where: str, group: str | None = None) -> None:
    leaf = CANONICAL.get(str(key))
    full = f"{group}.{key}" if group else str(key)
    if leaf is None:
        valid = [n for n in CANONICAL if group is None or group in _places(CANONICAL[n])]
        guess = did_you_mean(str(key), valid) or did_you_mean(str(key), [*CANONICAL, *GROUPS])
        layer.problems.append(f"{where}: unknown parameter '{full}'{guess}")
    elif group and group not in _places(leaf):
        layer.problems.append(f"{where}: '{key}' does not belong to '{group}' but to '{LEAVES[leaf].group}'")
    elif leaf in layer.values:
        layer.problems.append(f"{where}: '{full}' is given twice, first at {layer.values[leaf].where}")
    else:
        layer.values[leaf] = Given(value, where)


def _places(leaf: str) -> tuple[str | None, ...]:
    """Return the group of a parameter, and the one that it stood in once."""
    group = LEAVES[leaf].group
    return group, FORMER_GROUPS.get(group)


def read_flags(values: Mapping[str, Any]) -> Layer:
    """A layer from command-line flags, by leaf name."""
    return Layer({name: Given(value, f"--{name}") for name, value in values.items()}, [])


def read_overrides(overrides: Iterable[str]) -> Layer:
    """A layer from `key=value` words; the key is a leaf name, alone or behind its group, a list is
    written `[a, b]`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    layer = Layer({}, [])
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals:
            layer.problems.append(f"'{word}': expected key=value")
            continue
        group, dot, leaf = key.rpartition(".")
        value: Any = text
        if text[:1] in "[{" and text:
            try:
                value = YAML(typ="safe").load(text)  # type: ignore[reportUnknownMemberType]
            except YAMLError as error:
                layer.problems.append(f"'{word}': not a list or mapping: {str(error).splitlines()[0]}")
                continue
        _give(layer, leaf, value, f"'{word}'", group if dot else None)
    return layer


def read_mapping(values: Mapping[str, Any], name: str) -> Layer:
    """A layer from a plain mapping, as a deployment run's parameters come: `{"train": {"learning_rate": 1e-3}}`."""
    layer = Layer({}, [])
    for key, value in values.items():
        if key in GROUPS and isinstance(value, Mapping):
            for leaf, leaf_value in value.items():
                _give(layer, leaf, leaf_value, name, key)
        else:
            _give(layer, key, value, name)
    return layer


def resolve(*layers: Layer) -> Params:
    """Put layers on top of each other, the last one winning, and check the result.

    Raises:
        ConfigError: naming every problem of every layer.
    """
    problems = [problem for layer in layers for problem in layer.problems]
    given: dict[str, Given] = {}
    for layer in layers:
        given |= layer.values
    groups: dict[str, Any] = {}
    for group, model in GROUPS.items():
        values = {name: _plain(given[name].value, name) for name in model.model_fields if name in given}
        try:
            groups[group] = model.model_validate(values)
        except ValidationError as error:
            problems += [_explain(details, given) for details in error.errors()]
    if problems:
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"{count} in the configuration:\n" + "\n".join(f"  {line}" for line in problems))
    return Params(**groups)


def _plain(value: Any, name: str) -> Any:
    """`null` on a command line means no value; a null in YAML means the default."""
    if value is None or value in ("null", "None"):
        return LEAVES[name].default
    return value


def _explain(details: ErrorDetails, given: Mapping[str, Given]) -> str:
    name = str(details["loc"][0])
    value, where = given[name]
    context = details.get("ctx", {})
    match details["type"]:
        case "literal_error":
            allowed = [word.strip("' ") for word in context["expected"].replace(" or ", ", ").split(",")]
            reason = f"must be one of {', '.join(allowed)}, not {value!r}{did_you_mean(str(value), allowed)}"
        case "value_error":
            reason = str(context["error"])
        case _:
            message = details["msg"].removeprefix("Input ")
            reason = f"{message[0].lower()}{message[1:]}, not {value!r}"
    return f"{where}: {LEAVES[name].group}.{name} {reason}"


def load(path: Path, *layers: Layer) -> Params:
    """Resolve `path` (a `params.yaml`) below further layers."""
    return resolve(read_yaml(path), *layers)


def difference(params: Params, other: Params | None = None) -> dict[str, tuple[Any, Any]]:
    """Leaves whose value differs: `{"tuner.lora_rank": (8, 16)}`, the old value (by default the default) first."""
    before = other or Params()
    changed: dict[str, tuple[Any, Any]] = {}
    for leaf in LEAVES.values():
        old, new = (getattr(getattr(p, leaf.group), leaf.name) for p in (before, params))
        if old != new:
            changed[f"{leaf.group}.{leaf.name}"] = (old, new)
    return changed
