"""Sentinels: private-use characters round an assistant's texts, by which these are found in a rendering."""

import re
from typing import Any, NamedTuple

from components.rows import Message
from components.templates.refused import Refused
from components.templates.thoughts import inline_thought

_SENTINEL = re.compile(r"(?:\ue000|\\ue000)([0-9]+)(?:\ue001|\\ue001)")
LAST_ARGUMENT = "\ue002"
"""Name and text of an argument that is put behind a call's own."""
NOT_RENDERED = {
    "thought": "the template leaves the assistant's thought out",
    "text": "the template does not write the assistant's text as it is",
    "call": "the template does not write the assistant's tool call",
}
"""Kind of text to the reason for a refusal."""


class Extent(NamedTuple):
    """A rendering without its sentinels, and the characters [start, end) between the first sentinel and the last."""

    text: str
    start: int
    end: int


class SentinelMessage:
    """An assistant's message with a sentinel before and behind each of its texts: thought, answer, names and arguments
    of calls.

    The sentinels stand inside of the whitespace round a text, so that a template trims the text as it would without.

    Attributes:
        message: the message with sentinels.
        texts: kind and text between sentinels 2n and 2n + 1, for each n.
    """

    def __init__(self, message: Message) -> None:
        self.texts: list[tuple[str, str]] = []
        self.message = dict(message)
        if thought := message.get("reasoning_content"):
            self.message["reasoning_content"] = self._enclose("thought", thought)
        inline = inline_thought(message["content"])
        if inline and (inline.answer.strip() or message.get("tool_calls")):
            thought = inline.opening + self._enclose("thought", inline.thought) + inline.closing
            self.message["content"] = thought + self._enclose("text", inline.answer)
        else:
            self.message["content"] = self._enclose("text", message["content"])
        if calls := message.get("tool_calls"):
            self.message["tool_calls"] = [self._enclose_call(call) for call in calls]

    def has(self, kind: str) -> bool:
        """Return whether the message has a text of this kind (a key of `NOT_RENDERED`)."""
        return any(kind == text_kind for text_kind, _ in self.texts)

    def extent(self, rendering: str) -> Extent:
        """Return where the texts are in a rendering of `message`.

        Raises:
            Refused: a text is not there, or is there twice, or with other characters.
        """
        text, positions = without_sentinels(rendering)
        for n, (kind, core) in enumerate(self.texts):
            starts, ends = positions.get(2 * n, []), positions.get(2 * n + 1, [])
            if not starts or not ends:
                raise Refused(NOT_RENDERED[kind])
            if kind != "call" and (len(starts) > 1 or len(ends) > 1 or text[starts[0] : ends[0]] != core):
                raise Refused(NOT_RENDERED[kind], "it is cut, changed, or there more than once")
        firsts = [min(positions[2 * n]) for n in range(len(self.texts))]
        if firsts != sorted(firsts) and self.has("call"):
            raise Refused("the template writes an answer's text behind its tool calls")
        every = [position for of_one in positions.values() for position in of_one]
        return Extent(text, min(every), max(every))

    def rest(self, rendering: str, head: str) -> str | None:
        """Return what follows the last text in a longer rendering, or None if the text's place is not clear.

        Args:
            rendering: of a conversation that goes on behind `message`.
            head: the text of the conversation up to the end of the last text, as an earlier rendering has it.
        """
        text, positions = without_sentinels(rendering)
        if text.startswith(head):
            return text[len(head) :]
        ends = positions.get(2 * len(self.texts) - 1, [])
        return text[ends[0] :] if len(ends) == 1 else None

    def _enclose(self, kind: str, text: str) -> str:
        """Return the text with sentinels inside of the whitespace round it."""
        core = text.strip()
        if not core:
            return text
        n, at = len(self.texts), text.index(core)
        self.texts.append((kind, core))
        return f"{text[:at]}{_sentinel(2 * n)}{core}{_sentinel(2 * n + 1)}{text[at + len(core) :]}"

    def _enclose_call(self, call: dict[str, Any]) -> dict[str, Any]:
        function = dict(call["function"])
        function["name"] = self._enclose("call", function["name"])
        arguments = function["arguments"]
        if isinstance(arguments, str):
            function["arguments"] = self._enclose("call", arguments)
        else:
            function["arguments"] = {
                key: self._enclose("call", value) if isinstance(value, str) else value
                for key, value in arguments.items()
            }
        return {**call, "function": function}


def with_last_text(message: Message) -> Message:
    """Return the message with a text as the last argument of its last call, added where there is none."""
    *calls, last = message["tool_calls"]
    arguments = last["function"]["arguments"]
    if isinstance(arguments, str):
        return message
    value = list(arguments.values())[-1] if arguments else ""
    if isinstance(value, str) and value.strip():
        return message
    function = {**last["function"], "arguments": {**arguments, LAST_ARGUMENT: LAST_ARGUMENT}}
    return {**message, "tool_calls": [*calls, {**last, "function": function}]}


def without_sentinels(rendering: str) -> tuple[str, dict[int, list[int]]]:
    """Return the text without sentinels, and by sentinel the positions at which it stood."""
    parts = _SENTINEL.split(rendering)
    positions: dict[int, list[int]] = {}
    length = len(parts[0])
    for number, part in zip(parts[1::2], parts[2::2], strict=True):
        positions.setdefault(int(number), []).append(length)
        length += len(part)
    return "".join(parts[::2]), positions


def _sentinel(number: int) -> str:
    return f"\ue000{number}\ue001"
