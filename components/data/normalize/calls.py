"""Tool calls and tool declarations, in OpenAI's shape whichever they came in."""

import json
import re
from typing import Any

from components.data.normalize.values import describe, from_json, key_list, writable

Call = dict[str, Any]
_LONG_NUMBER = re.compile(r"\d{19}")
_LITERAL = ("default", "const")
"""Keys of a JSON schema whose null is a value; elsewhere it is what Arrow fills a table of structs with."""


def call(name: Any, arguments: Any, where: str, identity: Any = None) -> Call:
    """One call, its arguments an object: they may come as JSON, or be absent.

    Raises:
        ValueError: no name, or arguments that are no object.
    """
    import orjson

    if not isinstance(name, str) or not name:
        raise ValueError(f"{where} holds a tool call without a name ({describe(name)})")
    what = f"the call of '{key_list([name])}' in {where}"
    if isinstance(arguments, str):
        written = arguments
        try:
            arguments = orjson.loads(arguments.strip() or "{}")
            if _LONG_NUMBER.search(written):  # orjson makes a float of an integer over 64 bits
                arguments = json.loads(written)
        except ValueError as error:
            raise ValueError(f"the arguments of {what} are not JSON ({error}): {describe(arguments)}") from None
    arguments = {} if arguments is None else arguments
    if not isinstance(arguments, dict):
        raise ValueError(f"the arguments of {what} must be an object, not {describe(arguments)}")
    identity = {} if identity is None else {"id": identity}
    made = {**identity, "type": "function", "function": {"name": name, "arguments": arguments}}
    return writable(made, what)


def calls(value: Any, where: str) -> list[Call]:
    """OpenAI's `tool_calls`, or bare objects of name and arguments; at least one, a list of them, or JSON of that.

    Raises:
        ValueError: as `call`, and for anything else.
    """
    value = from_json(value, f"the tool call of {where}")
    value = value if isinstance(value, list) else [value]
    if not value:
        raise ValueError(f"{where} holds no tool call in its list of them")
    made = []
    for one in value:
        function = one.get("function") or one if isinstance(one, dict) else None
        if not isinstance(function, dict):
            raise ValueError(f"a tool call of {where} must be an object with name and arguments, not {describe(one)}")
        arguments = next((function[key] for key in ("arguments", "parameters") if function.get(key) is not None), None)
        made.append(call(function.get("name"), arguments, where, one.get("id")))
    return made


def tools(value: Any) -> list[dict[str, Any]]:
    """Declared tools: a list, one object, or JSON of these; bare and Anthropic's become OpenAI's.

    Raises:
        ValueError: anything else.
    """
    value = from_json(value, "'tools'")
    value = [value] if isinstance(value, dict) else value
    if not isinstance(value, list):
        raise ValueError(f"'tools' must be a list of objects, not {describe(value)}")
    return [_tool(from_json(tool, f"tool {number} of 'tools'"), number) for number, tool in enumerate(value, 1)]


def _tool(tool: Any, number: int) -> dict[str, Any]:
    if not isinstance(tool, dict):
        raise ValueError(f"tool {number} of 'tools' must be an object, not {describe(tool)}")
    tool = _unpadded(writable(tool, f"tool {number} of 'tools'"))
    if "name" not in tool or "function" in tool or tool.get("type", "function") not in ("function", "custom"):
        return tool
    names = {"input_schema": "parameters"}
    function = {names.get(key, key): value for key, value in tool.items() if key not in ("type", "cache_control")}
    return {"type": "function", "function": function}


def _unpadded(value: Any) -> Any:
    if isinstance(value, list):
        return [_unpadded(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _unpadded(item) for key, item in value.items() if item is not None or key in _LITERAL}
