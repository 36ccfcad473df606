"""Llama 3.1 and later: after <|python_tag|> JSON objects, with semicolons between them."""

import json
from typing import Any

from components.inference.tool_parsers import Calls, call_of

TEMPLATE = BEGIN = "<|python_tag|>"
END = ""


def calls(text: str, schemas: dict[str, Any]) -> Calls:  # noqa: ARG001
    """Return the calls in JSON objects one after the other."""
    decoder, result, position = json.JSONDecoder(), list[tuple[str, str]](), 0
    while text[position:].strip(" ;\n"):
        position += len(text[position:]) - len(text[position:].lstrip(" ;\n"))
        value, position = decoder.raw_decode(text, position)
        result.append(call_of(value))
    return result
