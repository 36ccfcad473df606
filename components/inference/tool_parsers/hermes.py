"""Hermes, Qwen2.5, Qwen3 and others: one JSON object between <tool_call> and </tool_call> for each call."""

import json
from typing import Any

from components.inference.tool_parsers import Calls, call_of

TEMPLATE = BEGIN = "<tool_call>"
END = "</tool_call>"


def calls(text: str, schemas: dict[str, Any]) -> Calls:  # noqa: ARG001
    """Return the call in a JSON object."""
    return [call_of(json.loads(text))]
