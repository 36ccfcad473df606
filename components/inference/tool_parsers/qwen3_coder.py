"""Qwen3-Coder and Qwen3.5: <function=NAME> with a <parameter=NAME> for each argument, between <tool_call> and
</tool_call>."""

import json
import re
from typing import Any

from components.inference.tool_parsers import Calls

TEMPLATE = "<function="
BEGIN, END = "<tool_call>", "</tool_call>"
FUNCTION = re.compile(r"<function=([^>\n]+)>(.*?)(?:</function>|\Z)", re.DOTALL)
PARAMETER = re.compile(r"<parameter=([^>\n]+)>\n?(.*?)\n?(?:</parameter>|(?=<parameter=)|\Z)", re.DOTALL)


def calls(text: str, schemas: dict[str, Any]) -> Calls:
    """Return the calls; a value is read as JSON unless its schema says that it is a string."""
    functions = FUNCTION.findall(text)
    if not functions:
        raise ValueError("no <function=…>")
    return [(name, json.dumps(_arguments(body, schemas.get(name, {})), ensure_ascii=False)) for name, body in functions]


def _arguments(body: str, schema: dict[str, Any]) -> dict[str, Any]:
    properties = schema.get("properties", {})
    return {name: _value(text, properties.get(name, {})) for name, text in PARAMETER.findall(body)}


def _value(text: str, schema: Any) -> Any:
    if isinstance(schema, dict) and schema.get("type") == "string":
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
