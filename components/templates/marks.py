"""Private-use marks round the texts of an assistant's message, to find these texts again in what a template makes."""

import re
from typing import Any, NamedTuple

from components.rows import Message
from components.templates.refused import Refused

_MARK = re.compile(r"(?:\ue000|\\ue000)([0-9]+)(?:\ue001|\\ue001)")
THOUGHT_TAGS = (
    ("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<seed:think>", "</seed:think>"), ("<thinking>", "</thinking>"),
    ("<mm:think>", "</mm:think>"), ("<|START_THINKING|>", "<|END_THINKING|>"),
)  # fmt: skip
THOUGHT_TAG = re.compile("|".join(re.escape(tag) for pair in THOUGHT_TAGS for tag in pair))
THOUGHT = re.compile(
    "|".join(rf"(\s*(?:{re.escape(opening)})?)(.*?)({re.escape(closing)})" for opening, closing in THOUGHT_TAGS),
    re.DOTALL,
)
ANOTHER = "\ue002"
MISSING = {
    "thought": "the template leaves the assistant's thought out",
    "text": "the template does not write the assistant's text as it is",
    "call": "the template does not write the assistant's tool call",
}


class Found(NamedTuple):
    """A rendering without its marks, and the characters [start, end) between the first mark and the last."""

    text: str
    start: int
    end: int


class Marked:
    """An assistant's message with marks: round its thoughts and its text, and in its calls.

    The marks stand inside of the whitespace round a text, so that a template trims that as ever.
    """

    def __init__(self, message: Message) -> None:
        self.cores: list[tuple[str, str]] = []
        """Kind and text of what is marked."""
        self.message = dict(message)
        if thought := message.get("reasoning_content"):
            self.message["reasoning_content"] = self._round("thought", thought)
        content = message["content"]
        inline = THOUGHT.match(content)
        if inline and (content[inline.end() :].strip() or message.get("tool_calls")):
            opening, thought, closing = (group for group in inline.groups() if group is not None)
            begin = opening + self._round("thought", thought) + closing
            self.message["content"] = begin + self._round("text", content[inline.end() :])
        else:
            self.message["content"] = self._round("text", content)
        if calls := message.get("tool_calls"):
            self.message["tool_calls"] = [self._call(call) for call in calls]

    def __bool__(self) -> bool:
        return bool(self.cores)

    def has(self, kind: str) -> bool:
        return any(kind == known for known, _ in self.cores)

    def find(self, rendered: str) -> Found:
        """Where the texts are in a rendering of the marked message.

        Raises:
            Refused: not all of them are there, once and as they are.
        """
        text, places = unmarked(rendered)
        for n, (kind, core) in enumerate(self.cores):
            starts, ends = places.get(2 * n, []), places.get(2 * n + 1, [])
            if not starts or not ends:
                raise Refused(MISSING[kind])
            if kind != "call" and (len(starts) > 1 or len(ends) > 1 or text[starts[0] : ends[0]] != core):
                raise Refused(MISSING[kind], "it is cut, changed, or there more than once")
        every = [place for found in places.values() for place in found]
        first = [min(places[2 * n]) for n in range(len(self.cores))]
        if first != sorted(first) and self.has("call"):
            raise Refused("the template writes an answer's text behind its tool calls")
        return Found(text, min(every), max(every))

    def after(self, rendered: str, own: str) -> str | None:
        """What follows the last of the texts in another rendering, which begins with `own` up to there; None where
        that text is gone, or its place is not clear."""
        text, places = unmarked(rendered)
        if text.startswith(own):
            return text[len(own) :]
        ends = places.get(2 * len(self.cores) - 1, [])
        return text[ends[0] :] if len(ends) == 1 else None

    def _round(self, kind: str, text: str) -> str:
        core = text.strip()
        if not core:
            return text
        n, at = len(self.cores), text.index(core)
        self.cores.append((kind, core))
        return f"{text[:at]}{_mark(2 * n)}{core}{_mark(2 * n + 1)}{text[at + len(core) :]}"

    def _call(self, call: dict[str, Any]) -> dict[str, Any]:
        function = dict(call["function"])
        function["name"] = self._round("call", function["name"])
        if isinstance(function.get("arguments"), dict):
            function["arguments"] = {
                key: self._round("call", value) if isinstance(value, str) else value
                for key, value in function["arguments"].items()
            }
        return {**call, "function": function}


def with_last_text(message: Message) -> Message:
    """A message whose last call ends with a text: another argument, where its own last one is none."""
    *calls, last = message["tool_calls"]
    arguments = last["function"]["arguments"]
    value = list(arguments.values())[-1] if arguments else ""
    if isinstance(value, str) and value.strip():
        return message
    function = {**last["function"], "arguments": {**arguments, ANOTHER: ANOTHER}}
    return {**message, "tool_calls": [*calls, {**last, "function": function}]}


def unmarked(rendered: str) -> tuple[str, dict[int, list[int]]]:
    """The text without its marks, and where each of them stood in it."""
    parts = _MARK.split(rendered)
    places: dict[int, list[int]] = {}
    length = len(parts[0])
    for number, part in zip(parts[1::2], parts[2::2], strict=True):
        places.setdefault(int(number), []).append(length)
        length += len(part)
    return "".join(parts[::2]), places


def _mark(number: int) -> str:
    return f"\ue000{number}\ue001"
