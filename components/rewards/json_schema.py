"""JSON schema: 1 where the answer is JSON that the row's `schema` allows, else 0; the JSON may stand in a Markdown
block. A row without a schema gets None."""

import json
import re
from collections.abc import Sequence
from typing import Any

from components.config import Params
from components.rewards._sample import Sample
from components.rewards._texts import final

COLUMNS = ("schema",)
_BLOCK = re.compile(r"```(?:json)?[ \t]*\n(.*?)```", re.DOTALL | re.IGNORECASE)


def rewards(samples: Sequence[Sample], params: Params) -> list[float | None]:  # noqa: ARG001
    """Return 1 for valid answers, 0 for others, None where there is no schema.

    Raises:
        ValueError: a row's schema is none.
    """
    return [_score(sample.columns.get("schema"), sample.completion) for sample in samples]


def check_row(columns: dict[str, Any]) -> None:
    """Raise ValueError if the schema of a row is none, or refers to what it does not hold."""
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT202012

    if columns.get("schema") is None:
        return
    schema = _validator(columns["schema"]).schema
    resource = (
        Resource.from_contents(schema, DRAFT202012) if isinstance(schema, dict) else DRAFT202012.create_resource(schema)
    )
    _check_references(resource, Registry().with_resource("", resource).crawl().resolver_with_root(resource))


def _check_references(resource: Any, resolver: Any) -> None:
    from referencing.exceptions import Unresolvable

    reference = resource.contents.get("$ref") if isinstance(resource.contents, dict) else None
    if isinstance(reference, str):
        try:
            resolver.lookup(reference)
        except Unresolvable as error:
            raise ValueError(f"column schema: $ref '{reference}' leads nowhere in the schema") from error
    for part in resource.subresources():
        _check_references(part, resolver.in_subresource(part))


def _validator(schema: Any) -> Any:
    """Return the validator of a schema, an object or its JSON."""
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry

    try:
        schema = json.loads(schema) if isinstance(schema, str) else schema
        validator = validator_for(schema)
        validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"column schema: {error.message}") from error
    except ValueError as error:
        raise ValueError(f"column schema: not JSON: {error}") from error
    return validator(schema, registry=Registry())


def _score(schema: Any, answer: str) -> float | None:
    if schema is None:
        return None
    validator, text = _validator(schema), final(answer)
    blocks = _BLOCK.findall(text)
    try:
        value = json.loads(blocks[-1] if blocks else text)
    except (ValueError, RecursionError):
        return 0.0
    return float(validator.is_valid(value))
