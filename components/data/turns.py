"""What the formats share: a text with its type checked, and a conversation built from its parts."""

from typing import Any

Message = dict[str, str]


def text(row: dict[str, Any], key: str) -> str:
    """`row[key]`, which must be a string; absent or null is the empty string.

    Raises:
        ValueError: naming the key and the type that was found.
    """
    value = row.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"'{key}' must be a text, not {type(value).__name__} ({_short(value)})")
    return value


def _short(value: Any) -> str:
    written = repr(value)
    return written if len(written) <= 40 else f"{written[:40]}…"


def conversation(row: dict[str, Any], query: str, response: str) -> list[Message]:
    """The system prompt and the history of `row`, both optional, then one question and its answer.

    Raises:
        ValueError: `system` is no text, or `history` no list of [question, answer].
    """
    system = text(row, "system")
    messages = [{"role": "system", "content": system}] if system else []
    for pair in _history(row.get("history")):
        messages += _turn(*pair)
    return messages + _turn(query, response)


def _turn(query: str, response: str) -> list[Message]:
    return [{"role": "user", "content": query}, {"role": "assistant", "content": response}]


def _history(history: Any) -> list[list[str]]:
    pairs = history or []
    if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
        raise ValueError(f"'history' must be a list of [question, answer], not {_short(history)}")
    return pairs


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)


def messages_of(value: Any, key: str) -> list[Message]:
    """A list of `{role, content}`, both texts; other keys of a message are left aside unless they would be missed.

    Raises:
        ValueError: naming the message and what is wrong with it.
    """
    if not isinstance(value, list):
        raise ValueError(f"'{key}' must be a list of messages, not {type(value).__name__} ({_short(value)})")
    return [_message(message, f"message {number} of '{key}'") for number, message in enumerate(value, 1)]


def _message(message: Any, where: str) -> Message:
    if not isinstance(message, dict):
        raise ValueError(f"{where} must be an object with role and content, not {_short(message)}")
    if not {"role", "content"} <= message.keys():
        raise ValueError(f"{where} needs role and content; its keys are {', '.join(message) or 'none'}")
    for key in ("role", "content"):
        if not isinstance(message[key], str):
            raise ValueError(f"the {key} of {where} must be a text, not {_short(message[key])}")
    if message.get("tool_calls"):
        raise ValueError(f"{where} holds tool_calls, which would be lost: only the text of a conversation is learned")
    return {"role": message["role"], "content": message["content"]}
