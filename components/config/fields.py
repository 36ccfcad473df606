"""The building blocks of the schema: a group of parameters, and a field with its help and aliases."""

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


class Group(BaseModel):
    """One group of parameters, as it stands under its name in `params.yaml`. Unknown keys, NaN and infinity are
    refused."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        use_attribute_docstrings=False,
    )


def field(default: Any, help: str, *aliases: str, **constraints: Any) -> Any:
    """Return a pydantic field: its default, the line for `--help`, the parameter's other names, the constraints."""
    extra: dict[str, Any] = {"aliases": list(aliases)}
    if isinstance(default, (list, dict)):
        return Field(default_factory=lambda: default.copy(), description=help, json_schema_extra=extra, **constraints)
    return Field(default, description=help, json_schema_extra=extra, **constraints)


def as_list(value: Any) -> Any:
    """Return a string as a list of one; anything else as it is."""
    return [value] if isinstance(value, str) else value


def as_text(value: Any) -> Any:
    """Return a mapping as JSON; anything else as it is."""
    return json.dumps(value) if isinstance(value, dict) else value


def _each_once(names: list[str]) -> list[str]:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"names {', '.join(twice)} more than once; each is used once")
    return names


def _from_json(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"is not JSON: {error}") from error
    return value


Names = Annotated[list[str], BeforeValidator(as_list)]
"""A list of strings; a single string is a list of one."""

Methods = Annotated[Names, AfterValidator(_each_once)]
"""A list of names of methods, each of which is named once."""

Mapping = Annotated[dict[str, Any], BeforeValidator(_from_json)]
"""A mapping; on the command line it is written as JSON."""

Shares = Annotated[dict[str, Annotated[float, Field(gt=0, lt=1)]], BeforeValidator(_from_json)]
"""Shares between 0 and 1 by name; on the command line they are written as JSON."""

Numbers = Annotated[list[float], BeforeValidator(lambda value: [value] if isinstance(value, (int, float)) else value)]
"""A list of numbers; a single number is a list of one."""
