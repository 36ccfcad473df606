"""Canonical messages from lists in any dialect: OpenAI, Anthropic, ShareGPT, ms-swift."""

from typing import Any

from components import rows
from components.data.normalize.calls import calls
from components.data.normalize.parts import Content, content_of
from components.data.normalize.values import describe, from_json, json_of, key_list, literal, text

Media = dict[str, list[Any]]
_CALL = "call"
_NAMES = {
    "system": ("system", "developer"),
    "user": ("user", "human"),
    "assistant": ("assistant", "gpt", "bot", "chatgpt", "model"),
    "tool": ("tool", "function", "observation", "observations", "tool_response", "function_response"),
    _CALL: ("function_call", "tool_call"),
}
ROLES = {name: role for role, names in _NAMES.items() for name in names}
_CANONICAL = frozenset(("system", "user", "assistant", "tool"))
_PAIR = [name for role in ("system", "user", "assistant") for name in _NAMES[role]]
_REASONING = ("reasoning_content", "reasoning", "thinking")


def messages_of(value: Any, key: str, media: Media) -> list[rows.Message]:
    """Return the canonical messages of a list in any dialect, or of its JSON.

    Args:
        media: gets the addresses of the media that content parts hold, under `images`, `videos` and `audios`.

    Raises:
        ValueError: naming the message and what is wrong with it.
    """
    value = from_json(value, f"'{key}'") if type(value) is str else value
    if type(value) is not list:
        raise ValueError(f"'{key}' must be a list of messages, not {describe(value)}")
    if not value:
        raise ValueError(f"'{key}' holds no message")
    messages: list[rows.Message] = []
    for number, message in enumerate(value, 1):
        if type(message) is dict and len(message) == 2:  # by far the most, and so the quickest
            name, content = message.get("role", message.get("from")), message.get("content", message.get("value"))
            role = ROLES.get(name) if type(name) is str else None
            if type(content) is str and role in _CANONICAL:
                if not content.isascii():
                    content.encode()
                messages.append({"role": role, "content": content})
                continue
        _add(messages, message, f"message {number} of '{key}'", media)
    return messages


def _add(messages: list[rows.Message], raw: Any, where: str, media: Media) -> None:
    if not isinstance(raw, dict):
        raise ValueError(f"{where} must be an object with role and content, not {describe(raw)}")
    raw = {key: value for key, value in raw.items() if value is not None}
    role = _role(raw, where)
    if role is None:
        messages += _pair(raw, where)
        return
    content = raw.get("content", raw.get("value"))
    if role == _CALL:
        _join(messages, _message("assistant", Content("", "", calls(content, where), []), raw, where))
        return
    if role == "tool" and not _is_content(content):
        content = json_of(content, f"the content of {where}", literal)
    parts = Content("", "", [], []) if content is None else content_of(content, where, media)
    message = _message(role, parts, raw, where)
    if content is None and message.keys() <= {"role", "content", "name", "loss_scale"}:
        raise ValueError(f"{where} has no content; its keys are {key_list(raw)}")
    messages += [{"role": "tool"} | result for result in parts.results]
    if parts.text or not parts.results:
        messages.append(message)


def _role(raw: dict[str, Any], where: str) -> str | None:
    """Return the canonical role, or None where the message has neither `role` nor `from`."""
    role = raw.get("role", raw.get("from"))
    if role is None:
        return None
    if not isinstance(role, str):
        raise ValueError(f"the role of {where} must be a text, not {describe(role)}")
    canonical = ROLES.get(role) or ROLES.get(role.strip().lower().replace("-", "_"))
    if canonical is None:
        raise ValueError(f"{where} has an unknown role, {describe(role)}; known are {', '.join(ROLES)}")
    return canonical


def _pair(raw: dict[str, Any], where: str) -> list[rows.Message]:
    """Return the messages of `{human, assistant}`, ShareGPT's dialect with a question and its answer in one object."""
    pair = [{"role": ROLES[name], "content": text(raw, name, where)} for name in _PAIR if name in raw]
    if not pair:
        raise ValueError(f"{where} needs role and content; its keys are {key_list(raw)}")
    return pair


def _message(role: str, content: Content, raw: dict[str, Any], where: str) -> rows.Message:
    message: rows.Message = {"role": role, "content": content.text}
    for key in ("name", "tool_call_id"):
        if raw.get(key) and (key == "name" or role == "tool"):
            message[key] = text(raw, key, where)
    raw_calls = [raw[key] for key in ("tool_calls", "function_call") if raw.get(key)]
    if role != "assistant":
        if raw_calls or content.calls:
            raise ValueError(f"{where} is the {role}'s and holds tool calls: only the assistant calls tools")
        return message
    reasoning = content.reasoning or next((text(raw, key, where) for key in _REASONING if raw.get(key)), "")
    if reasoning:
        message["reasoning_content"] = reasoning
    if raw_calls or content.calls:
        message["tool_calls"] = [*content.calls, *(call for value in raw_calls for call in calls(value, where))]
    scale = _loss_scale(raw, where)
    return message if scale is None else message | {"loss_scale": scale}


def _join(messages: list[rows.Message], message: rows.Message) -> None:
    """Append a message of calls; behind an assistant's message with the same loss scale, merge both into one turn."""
    last = messages[-1] if messages else {}
    if last.get("role") == "assistant" and last.get("loss_scale") == message.get("loss_scale"):
        messages[-1] = last | {"tool_calls": [*last.get("tool_calls", ()), *message["tool_calls"]]}
    else:
        messages.append(message)


def _loss_scale(raw: dict[str, Any], where: str) -> float | None:
    """Return the weight from ms-swift's `loss` (learned or not) and `loss_scale` (how much) or OpenAI's `weight`."""
    scale, loss = raw.get("loss_scale", raw.get("weight")), raw.get("loss")
    if scale is not None and (isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 <= scale < 3e38):
        raise ValueError(f"the loss_scale of {where} must be a number, 0 or more, not {describe(scale)}")
    if loss is None:
        return scale if scale is None else float(scale)
    if loss not in (True, False):
        raise ValueError(f"the loss of {where} must be true or false, not {describe(loss)}")
    return float(1 if scale is None else scale) if loss else 0.0


def _is_content(value: Any) -> bool:
    """Return whether a tool's answer is a text or a list of parts; any other value is an object."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(part, dict) and "type" in part for part in value)
    return value is None or isinstance(value, str)
