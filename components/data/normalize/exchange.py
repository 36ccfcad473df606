"""Questions behind their system prompt and history, and conversations split at their last answer."""

from typing import Any

from components import rows
from components.data.normalize.messages import Media, messages_of
from components.data.normalize.parts import content_of
from components.data.normalize.values import describe, from_json, text

SYSTEMS = ("system", "system_prompt")


def system_of(raw: dict[str, Any]) -> list[rows.Message]:
    """Return the row's system prompt, a text or Anthropic's list of text parts, as one message or none."""
    key = next((key for key in SYSTEMS if raw.get(key)), None)
    if key is None:
        return []
    media: Media = {}
    content = content_of(raw[key], f"'{key}'", media).text if isinstance(raw[key], list) else text(raw, key)
    refuse_media(media, key)
    return [{"role": "system", "content": content}] if content else []


def question_messages(raw: dict[str, Any], question: str) -> list[rows.Message]:
    """Return the messages of a question: system prompt and history of the row, both optional, then the question.

    Raises:
        ValueError: `system` is no text, or `history` no list of [question, answer].
    """
    before = system_of(raw)
    if raw.get("history"):
        before += _history(raw["history"])
    return [*before, {"role": "user", "content": question}]


def _history(value: Any) -> list[rows.Message]:
    pairs = from_json(value, "'history'")
    if isinstance(pairs, list) and pairs and all(isinstance(pair, dict) for pair in pairs):
        media: Media = {}
        messages = messages_of(pairs, "history", media)
        refuse_media(media, "history")
        return messages
    if not isinstance(pairs, list) or not all(_is_pair(pair) for pair in pairs):
        raise ValueError(f"'history' must be a list of [question, answer], not {describe(value)}")
    turns = [turn for pair in pairs for turn in zip(("user", "assistant"), pair, strict=True) if turn[1] is not None]
    return [{"role": role, "content": text({"history": content}, "history")} for role, content in turns]


def refuse_media(media: Media, column: str) -> None:
    """See that a column beside the messages holds no media, whose place among the others nobody could tell.

    Raises:
        ValueError: it holds some.
    """
    if media:
        raise ValueError(f"'{column}' holds media in its parts: write it as one of the row's messages")


def _is_pair(pair: Any) -> bool:
    parts = pair if isinstance(pair, list | tuple) and len(pair) == 2 else [0]
    return all(content is None or isinstance(content, str) for content in parts)


def split_answer(messages: list[rows.Message]) -> tuple[list[rows.Message], list[rows.Message]]:
    """Return the prompt, up to the last question, and all that answers it, tool calls and results included.

    Raises:
        ValueError: nothing is asked, or nothing answers.
    """
    start = next((i for i in range(len(messages), 0, -1) if messages[i - 1]["role"] in ("user", "system")), 0)
    if not start:
        raise ValueError("holds an answer but no question: no message is the user's")
    if start == len(messages):
        raise ValueError(f"the last message is the {messages[-1]['role']}'s: an answer must follow it")
    if messages[start]["role"] != "assistant":
        raise ValueError(f"the {messages[start]['role']} answers the last question, not the assistant")
    return _unweighted(messages[:start]), messages[start:]


def split_pair(
    chosen: list[rows.Message], rejected: list[rows.Message]
) -> tuple[list[rows.Message], list[rows.Message], list[rows.Message]]:
    """Return prompt, chosen and rejected of two conversations; the prompt is what both share (TRL's implicit prompt).

    Raises:
        ValueError: they share no beginning after which both answer.
    """
    shortest = min(len(chosen), len(rejected))
    same = next((i for i in range(shortest) if chosen[i] != rejected[i]), shortest)
    for i in range(min(same, shortest - 1), 0, -1):
        if chosen[i]["role"] == rejected[i]["role"] == "assistant":
            return _unweighted(chosen[:i]), chosen[i:], rejected[i:]
    raise ValueError("chosen and rejected are whole conversations that do not begin with the same question")


def _unweighted(messages: list[rows.Message]) -> list[rows.Message]:
    """Return the messages without weights, which have no meaning in a prompt."""
    return [{k: v for k, v in m.items() if k != "loss_scale"} if "loss_scale" in m else m for m in messages]
