"""Typed parameters of deployments, from the one schema of `components/config`: Prefect's pages show a form of them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args

from pydantic import Field
from typing_extensions import TypedDict

from components.config import GROUPS, LEAVES
from components.config.schema import Leaf

NOT_IN_THE_PIPELINE = ("generation", "sample", "serve", "run", "export")
"""Groups that no stage of the pipeline reads."""


def _form(name: str, groups: Iterable[str]) -> Any:
    """Return a TypedDict of groups whose keys are all optional: a parameter that is not given keeps its value.

    Its JSON schema has the type, the help with the default, and the allowed values of each parameter.
    """
    typed_dict: Any = TypedDict
    fields: dict[str, Any] = {}
    for group in groups:
        leaves = {leaf.name: _annotation(leaf) for leaf in LEAVES.values() if leaf.group == group}
        fields[group] = typed_dict(group, leaves, total=False)
    return typed_dict(name, fields, total=False)


def _annotation(leaf: Leaf) -> Any:
    """Return the type of a parameter for a form: without None, which stands for "not given" there."""
    kinds = [kind for kind in get_args(leaf.info.annotation) if kind is not type(None)]
    is_optional = type(None) in get_args(leaf.info.annotation)
    kind = Union[tuple(kinds)] if is_optional else leaf.info.annotation  # noqa: UP007 - made at run time
    default = "" if leaf.default in (None, [], {}) else f" [{leaf.default}]"
    return Annotated[kind, *leaf.info.metadata, Field(description=f"{leaf.info.description}{default}")]


if TYPE_CHECKING:
    Overrides = dict[str, Any]
    Serving = dict[str, Any]
else:
    Overrides = _form("Overrides", [group for group in GROUPS if group not in NOT_IN_THE_PIPELINE])
    Serving = _form("Serving", ["serve", "generation", "vllm", "lmdeploy", "sglang"])
NO_OVERRIDES: Overrides = {}
