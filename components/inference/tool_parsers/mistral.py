"""Mistral: after [TOOL_CALLS] a JSON list of objects, or from tokenizer version 11 on NAME[ARGS]{…} for each call."""

import json
from typing import Any

from components.inference.tool_parsers import Calls, call_of

TEMPLATE = BEGIN = "[TOOL_CALLS]"
END = ""


def calls(text: str, schemas: dict[str, Any]) -> Calls:  # noqa: ARG001
    """Return the calls in a JSON list, or in the newer notation."""
    if "[ARGS]" not in text:
        return [call_of(value) for value in json.loads(text)]
    parts = (part.partition("[ARGS]") for part in text.split(BEGIN) if part.strip())
    return [(name.strip(), json.dumps(json.loads(arguments), ensure_ascii=False)) for name, _, arguments in parts]
