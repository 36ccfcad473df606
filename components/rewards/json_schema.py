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


def _score(schema: Any, answer: str) -> float | None:
    from jsonschema import SchemaError
    from jsonschema.validators import validator_for
    from referencing import Registry

    if schema is None:
        return None
    schema = json.loads(schema) if isinstance(schema, str) else schema
    validator = validator_for(schema)
    try:
        validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"column schema: {error.message}") from error
    text = final(answer)
    blocks = _BLOCK.findall(text)
    try:
        value = json.loads(blocks[-1] if blocks else text)
    except (ValueError, RecursionError):
        return 0.0
    return float(validator(schema, registry=Registry()).is_valid(value))
