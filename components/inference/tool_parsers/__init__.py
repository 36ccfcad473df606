"""Tool parsers: how the models of a family write tool calls, one file per family, recognised by the chat template.

    parser = parser_of(chat_template)                  # None where the template says nothing of tools
    parser.calls('{"name": "f", "arguments": {}}', {}) # [("f", "{}")]

A call stands between BEGIN and END; without an END everything after BEGIN is calls.
"""

import json
from typing import Any, Protocol

from components.plugins import Kind

Calls = list[tuple[str, str]]
"""Names of functions, and their arguments as JSON text."""


class ToolParser(Protocol):
    """What the file of a family defines. `TEMPLATE` is a text that only chat templates of the family contain."""

    TEMPLATE: str
    BEGIN: str
    END: str

    def calls(self, text: str, schemas: dict[str, Any]) -> Calls:
        """Return the calls in the text between BEGIN and END.

        Args:
            schemas: by the names of the functions that may be called, the JSON schemas of their arguments.

        Raises:
            ValueError: the text is no call.
        """
        ...


TOOL_PARSERS = Kind("tool parser", "tool_call_parser", __name__, ToolParser)
ORDER = ("qwen3_coder", "hermes", "mistral", "llama3_json")
"""Families, the more special before those whose mark their templates contain too."""


def parser_of(chat_template: str) -> ToolParser | None:
    """Return the parser of the calls that a model with this chat template writes, or None."""
    parsers = (TOOL_PARSERS.load(name) for name in ORDER)
    return next((parser for parser in parsers if parser.TEMPLATE in chat_template), None)


def call_of(value: Any) -> tuple[str, str]:
    """Return the name and the arguments of a call in JSON: an object with `name`, and `arguments` or `parameters`.

    Raises:
        ValueError: it is no call.
    """
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        raise ValueError("a call needs a name")
    arguments = value.get("arguments", value.get("parameters", {}))
    return value["name"], arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
