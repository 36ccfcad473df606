"""Tools, their calls, and several speakers."""

import json
import re
from typing import Any

from components.data.catalogue.converters import Raw, chat, literal, pick


def python_literal(raw: Raw) -> Raw:
    """A conversation that some copies hold as a text of Python objects, with or without commas between them."""
    key = next(name for name in ("messages", "conversations", "conversation") if name in raw)
    return {"messages": literal(raw[key])}


def msagent_mini(raw: Raw) -> Raw | None:
    """Rows whose system prompt offers at least two different plugins."""
    turns = literal(raw["messages"] if "messages" in raw else raw["conversations"])
    system = turns[0]["value"] if turns[0]["from"] == "system" else ""
    plugins = set(re.findall(r'\d\. \{"plugin_name": "(.+?)"', system))
    return {"conversations": turns} if len(plugins) > 1 else None


def alpha_umi(raw: Raw) -> Raw:
    """The caller's and the concluder's words are the assistant's."""
    question, answer = literal(raw["messages"] if "messages" in raw else raw["conversations"])
    if answer["from"] in ("caller", "conclusion"):
        answer = answer | {"from": "assistant"}
    return {"conversations": [question, answer]}


_NOTES = (
    "\n\n【注意事项】\n1. 这是聊天室，不要发送私信给任何人\n2. 仅代表你个人说话,不要扮演其他人，只根据对话历史进行回复"
    "\n3. 长话短说，不要说太多话，不要超过50字 "
)


def multi_role(raw: Raw) -> Raw | None:
    """The last speaker answers what the others said: a chat room. Rows in which nobody spoke before are left out."""
    opening, *others, last = raw["conversations"]
    if opening["from"] == "user":
        return chat(opening["value"], last["value"]) if last["value"] else None
    system = opening["value"] if opening["from"] == "system" else ""
    if "next_speakers:" in system or not others or not last["value"]:
        return None
    notes = _NOTES if system and "【注意事项】" not in system else ""
    room = "【chat history】" + "".join(f"\n {turn['from']}:{turn['value']}" for turn in others)
    row = chat(room, last["value"])
    return {"messages": [{"role": "system", "content": system + notes}, *row["messages"]]} if system else row


def xlam(raw: Raw) -> Raw:
    """A question, the tools, and the calls that answer it."""
    message = {"role": "assistant", "content": "", "tool_calls": [_call(call) for call in _parsed(raw["answers"])]}
    return {"messages": [_asked(raw), message], "tools": [_tool(tool) for tool in _parsed(raw["tools"])]}


def xlam_grpo(raw: Raw) -> Raw:
    """One of the calls as text, for a reward to compare with: `solution`."""
    calls = [
        f"Action: {call['name']}\nAction Input: {json.dumps(call['arguments'], ensure_ascii=False)}"
        for call in _parsed(raw["answers"])
    ]
    tools = [_tool(tool) for tool in _parsed(raw["tools"])]
    return {"prompt": [_asked(raw)], "tools": tools, "solution": pick(calls, raw["query"])}


def function_calling_chatml(raw: Raw) -> Raw:
    """Glaive's conversations: tools from `function_description`, calls and results as messages of their own."""
    turns = raw["conversations"]
    turns = turns[1:] if turns[0]["from"] == "system" else turns
    row: Raw = {"messages": [_glaive(turn["from"].replace("-", "_"), turn["value"]) for turn in turns]}
    described = [part for part in (raw["function_description"] or "").split("\n\n") if part.strip()]
    return row | {"tools": [_tool(json.loads(part)) for part in described]} if described else row


def _glaive(role: str, value: str) -> Raw:
    if role == "function_response":
        return {"role": "tool", "content": value}
    if role != "function_call":
        return {"role": "user" if role in ("human", "user") else "assistant", "content": value}
    quoted = re.search(r'"name":\s*"([^"]+)".*?"arguments":\s*\'(.*)\'', value, re.DOTALL)
    called = {"name": quoted[1], "arguments": quoted[2]} if quoted else json.loads(value)
    return {"role": "assistant", "content": "", "tool_calls": [_call(called)]}


def _asked(raw: Raw) -> Raw:
    return {"role": "user", "content": raw["query"]}


def _parsed(value: Any) -> Any:
    return json.loads(value) if isinstance(value, str) else value


def _call(call: Raw) -> Raw:
    return {"type": "function", "function": {"name": call["name"], "arguments": _parsed(call["arguments"])}}


def _tool(tool: Raw) -> Raw:
    """OpenAI's form; parameters that come without a schema round them get one."""
    if tool.get("type") == "function":
        return tool
    parameters = tool.get("parameters") or {}
    if "properties" not in parameters:
        parameters = {"type": "object", "properties": parameters}
    return {"type": "function", "function": tool | {"parameters": parameters}}
