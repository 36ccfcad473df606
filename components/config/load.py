"""Readers of YAML, flags and overrides, and their resolution to `Params`, with every problem reported at once."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from components.config.elsewhere import unknown, value_answer
from components.config.schema import CANONICAL, GROUPS, LEAVES, Params
from components.errors import ConfigError, did_you_mean

FORMER_GROUPS = {"lora": "tuner", "plugins": "template"}
"""Former group, by group: parameters are also read from the group that they were in before, so that older files and
checkpoints stay readable."""


class Setting(NamedTuple):
    """The value of a parameter, and its location: `params.yaml:12`, `--lora_rank`, `'lora_rank=16'`."""

    value: Any
    where: str


class Layer(NamedTuple):
    """The settings of one source, by leaf name, and the problems in the source."""

    values: dict[str, Setting]
    problems: list[str]


def read_yaml(path: Path) -> Layer:
    """Read a params or recipe file: parameters below their groups, or by their own names.

    Raises:
        ConfigError: the file is missing or is not a YAML mapping.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    name = os.path.relpath(path)
    if not path.is_file():
        hint = "; work in a workspace, or make one with `martlet init`" if path.name == "params.yaml" else ""
        raise ConfigError(f"{name}: no such file{hint}")
    try:
        document: Any = YAML().load(path)  # type: ignore[reportUnknownMemberType]
    except MarkedYAMLError as error:
        mark: Any = error.problem_mark  # type: ignore[reportUnknownMemberType]
        line = mark.line + 1 if mark else 1
        raise ConfigError(f"{name}:{line}: not valid YAML: {error.problem}") from error
    except (YAMLError, UnicodeDecodeError, ValueError) as error:
        raise ConfigError(f"{name}: not a text file in UTF-8: {str(error).splitlines()[0]}") from error
    if document is None:
        return Layer({}, [])
    if not isinstance(document, Mapping):
        raise ConfigError(f"{name}:1: expected parameters by name (key: value), found {type(document).__name__}")
    return _flatten(document, name)


def _flatten(document: Any, name: str) -> Layer:
    """Return the layer of a `document` of ruamel.yaml, which has the line of each key."""
    layer = Layer({}, [])
    for key, value in document.items():
        if key in GROUPS and (value is None or isinstance(value, dict)):
            group: Any = value or {}
            for leaf in group:
                _add(layer, leaf, group[leaf], f"{name}:{group.lc.key(leaf)[0] + 1}", str(key))
        else:
            _add(layer, key, value, f"{name}:{document.lc.key(key)[0] + 1}")
    return layer


def _add(layer: Layer, key: Any, value: Any, where: str, group: str | None = None) -> None:
    leaf = CANONICAL.get(str(key))
    full = f"{group}.{key}" if group else str(key)
    if leaf is None:
        problem = unknown("parameter", f"'{full}'", str(key), [*CANONICAL, *GROUPS])
        layer.problems.append(f"{where}: {problem}")
    elif group and group not in _groups_of(leaf):
        layer.problems.append(f"{where}: '{key}' does not belong to '{group}' but to '{LEAVES[leaf].group}'")
    elif leaf in layer.values:
        layer.problems.append(f"{where}: '{full}' is given twice, first at {layer.values[leaf].where}")
    else:
        layer.values[leaf] = Setting(value, where)


def _groups_of(leaf: str) -> tuple[str | None, ...]:
    """Return the group of a parameter, and its former group or None."""
    group = LEAVES[leaf].group
    return group, FORMER_GROUPS.get(group)


def read_flags(values: Mapping[str, Any]) -> Layer:
    """Return the layer of command-line flags, by leaf name."""
    layer = Layer({name: Setting(value, f"--{name}") for name, value in values.items()}, [])
    if str(file := values.get("system")).endswith(".txt"):  # a file, as in ms-swift
        try:
            layer.values["system"] = Setting(Path(str(file)).read_text(encoding="utf-8"), "--system")
        except (OSError, UnicodeDecodeError) as error:
            layer.problems.append(f"--system: {file} cannot be read: {getattr(error, 'strerror', None) or error}")
            del layer.values["system"]
    return layer


def read_overrides(overrides: Iterable[str]) -> Layer:
    """Return the layer of `key=value` words: `lora_rank=16`, `lora.lora_rank=16`, `dataset=[a, b]`."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    layer = Layer({}, [])
    for word in overrides:
        key, equals, text = word.partition("=")
        if not equals:
            layer.problems.append(f"'{word}': expected key=value")
            continue
        group, dot, leaf = key.replace("-", "_").rpartition(".")
        value: Any = text
        if text[:1] in "[{" and text:
            try:
                value = YAML(typ="safe").load(text)  # type: ignore[reportUnknownMemberType]
            except YAMLError as error:
                layer.problems.append(f"'{word}': not a list or mapping: {str(error).splitlines()[0]}")
                continue
        _add(layer, leaf, value, f"'{word}'", group if dot else None)
    return layer


def read_mapping(values: Mapping[str, Any], name: str) -> Layer:
    """Return the layer of a plain mapping such as `{"train": {"learning_rate": 1e-3}}`; `name` is its location."""
    layer = Layer({}, [])
    for key, value in values.items():
        if key in GROUPS and isinstance(value, Mapping):
            for leaf, leaf_value in value.items():
                _add(layer, leaf, leaf_value, name, key)
        else:
            _add(layer, key, value, name)
    return layer


def resolve(*layers: Layer) -> Params:
    """Return the checked parameters of all layers; a later layer wins.

    Raises:
        ConfigError: naming every problem of every layer.
    """
    problems = [problem for layer in layers for problem in layer.problems]
    settings: dict[str, Setting] = {}
    for layer in layers:
        settings |= layer.values
    groups: dict[str, Any] = {}
    for group, model in GROUPS.items():
        values = {name: _or_default(settings[name].value, name) for name in model.model_fields if name in settings}
        try:
            groups[group] = model.model_validate(values)
        except ValidationError as error:
            problems += [_problem(details, settings) for details in error.errors()]
    if problems:
        count = "one problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise ConfigError(f"{count} in the configuration:\n" + "\n".join(f"  {line}" for line in problems))
    return Params(**groups)


def _or_default(value: Any, name: str) -> Any:
    """Return `value`, or the parameter's default for a null in YAML or `null` on a command line."""
    if value is None or value in ("null", "None"):
        return LEAVES[name].default
    return value


def _problem(details: ErrorDetails, settings: Mapping[str, Setting]) -> str:
    name = str(details["loc"][0])
    value, where = settings.get(name) or Setting(LEAVES[name].default, f"without --{name}")
    context = details.get("ctx", {})
    match details["type"]:
        case "literal_error":
            allowed = [word.strip("' ") for word in context["expected"].replace(" or ", ", ").split(",")]
            if reply := value_answer(name, str(value)):
                return f"{where}: {LEAVES[name].group}.{name} {value!r}: {reply}"
            reason = f"must be one of {', '.join(allowed)}, not {value!r}{did_you_mean(str(value), allowed)}"
        case "value_error":
            reason = str(context["error"])
        case _:
            message = details["msg"].removeprefix("Input ").partition(", unable to parse")[0]
            reason = f"{message[0].lower()}{message[1:]}, not {value!r}"
    return f"{where}: {LEAVES[name].group}.{name} {reason}"


def load(path: Path, *layers: Layer) -> Params:
    """Return the checked parameters of a `params.yaml` with further layers over it."""
    return resolve(read_yaml(path), *layers)


def difference(params: Params, other: Params | None = None) -> dict[str, tuple[Any, Any]]:
    """Return the parameters that differ between `other` (by default the defaults) and `params`, with both values:
    `{"lora.lora_rank": (8, 16)}`."""
    before = other or Params()
    changes: dict[str, tuple[Any, Any]] = {}
    for leaf in LEAVES.values():
        old, new = (getattr(getattr(p, leaf.group), leaf.name) for p in (before, params))
        if old != new:
            changes[f"{leaf.group}.{leaf.name}"] = (old, new)
    return changes
