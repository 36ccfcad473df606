"""Each call of a tool names one that the row declares, and gives it what its JSON schema requires."""

import json
from collections.abc import Iterator
from typing import Any

from components.data.checks import Batch, Context, Failure
from components.rows import CONVERSATIONS, Row

TYPES: dict[str, Any] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}


def check_rows(batch: Batch, _: Context) -> Iterator[Failure]:
    """A call where no tools are declared is a warning at most: an agent's log may come without them."""
    import polars as pl

    calling = batch.turns.filter(pl.col("tool_calls").is_not_null())["row"].unique(maintain_order=True).to_list()
    for i in calling:
        row = batch.rows[i]
        if not row.get("tools"):
            yield Failure(i, "calls a tool, and declares none", mild=True)
            continue
        declared = {tool["name"]: tool for tool in map(_function, row["tools"]) if "name" in tool}
        problem = next((p for call in _calls(row) if (p := _problem(call, declared))), "")
        if problem:
            yield Failure(i, problem, "tool_calls")


def _calls(row: Row) -> Iterator[dict[str, Any]]:
    for name in CONVERSATIONS:
        for message in row.get(name) or ():
            yield from map(_function, message.get("tool_calls") or ())


def _function(tool: Any) -> dict[str, Any]:
    """What stands in OpenAI's `function`, where it is used, of a declaration or a call."""
    inner = tool.get("function", tool) if isinstance(tool, dict) else {}
    return inner if isinstance(inner, dict) else {}


def _problem(call: dict[str, Any], declared: dict[str, Any]) -> str:
    name, arguments = call.get("name"), call.get("arguments", {})
    if name not in declared:
        return f"calls the tool '{name}', which is not declared ({', '.join(declared) or 'none'} are)"
    arguments = json.loads(arguments) if isinstance(arguments, str) else arguments
    if not isinstance(arguments, dict):
        return f"the arguments of '{name}' are no object but {type(arguments).__name__}"
    schema = declared[name].get("parameters")
    schema = schema if isinstance(schema, dict) else {}
    missing = [key for key in schema.get("required") or () if key not in arguments]
    if missing:
        return f"calls '{name}' without '{missing[0]}', which it requires"
    properties = schema.get("properties") or {}
    for key, value in arguments.items():
        expected = properties[key].get("type") if isinstance(properties.get(key), dict) else None
        if isinstance(expected, str) and not _fits(value, expected):
            return f"calls '{name}' with '{key}' as {type(value).__name__}, not {expected}"
    return ""


def _fits(value: Any, expected: str) -> bool:
    if value is None or expected not in TYPES:
        return True
    return isinstance(value, TYPES[expected]) and not (isinstance(value, bool) and expected in ("integer", "number"))
