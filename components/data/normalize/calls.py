"""Tool calls and tool declarations, converted to OpenAI's shape."""

from typing import Any

from components.data.exact_json import loads
from components.data.normalize.values import describe, from_json, integer, json_of, key_list, writable

Call = dict[str, Any]
_LITERAL = ("default", "const")
"""Keys of a JSON schema whose null is a value; elsewhere it is what Arrow fills a table of structs with."""


def call(name: Any, arguments: Any, where: str, identity: Any = None) -> Call:
    """Return one tool call in OpenAI's shape; its arguments may be an object, JSON, or absent.

    Arguments that are JSON stay the text that they are, for templates that take a text; an object with an integer
    beyond 64 bits becomes such a text.

    Raises:
        ValueError: no name, arguments that are no object, or a fraction that a float does not hold.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"{where} holds a tool call without a name ({describe(name)})")
    what = f"the call of '{key_list([name])}' in {where}"
    text = arguments if isinstance(arguments, str) else None
    try:
        arguments = arguments if text is None else loads(text.strip() or "{}")
    except ValueError as error:
        raise ValueError(f"the arguments of {what} are not JSON ({error}): {describe(text)}") from None
    arguments = {} if arguments is None else arguments
    if not isinstance(arguments, dict):
        raise ValueError(f"the arguments of {what} must be an object, not {describe(arguments)}")
    identity = {} if identity is None else {"id": identity}
    function = {"name": name, "arguments": _kept(arguments, text, what)}
    return writable({**identity, "type": "function", "function": function}, what)


def _kept(arguments: dict[str, Any], text: str | None, what: str) -> dict[str, Any] | str:
    """Return a call's arguments as its row has them; those of an object with an integer beyond 64 bits as JSON."""
    if not arguments:
        return {}
    if text is not None:
        json_of(arguments, what, integer)
        return text
    try:
        return writable(arguments, what)
    except ValueError:
        return json_of(arguments, what, integer)


def calls(value: Any, where: str) -> list[Call]:
    """Return tool calls in OpenAI's shape, from one call or a list of them, bare or in that shape, or from JSON.

    Raises:
        ValueError: as `call`, and for anything else.
    """
    value = from_json(value, f"the tool call of {where}")
    value = value if isinstance(value, list) else [value]
    if not value:
        raise ValueError(f"{where} holds no tool call in its list of them")
    result = []
    for one in value:
        function = one.get("function") or one if isinstance(one, dict) else None
        if not isinstance(function, dict):
            raise ValueError(f"a tool call of {where} must be an object with name and arguments, not {describe(one)}")
        arguments = next((function[key] for key in ("arguments", "parameters") if function.get(key) is not None), None)
        result.append(call(function.get("name"), arguments, where, one.get("id")))
    return result


def tools(value: Any) -> list[dict[str, Any]]:
    """Return declared tools in OpenAI's shape, from a list, one object or JSON; bare or Anthropic's are converted.

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
