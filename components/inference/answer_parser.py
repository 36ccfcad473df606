"""The parts of a chat model's answer: what it thought, what it says, and which tools it calls, also piece by piece."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

from components.inference.tool_parsers import Calls, ToolParser, call_of

THINK, END_THINK = "<think>", "</think>"

Delta = dict[str, Any]
"""A piece of a message, in OpenAI's shape: `content`, `reasoning_content` or `tool_calls`."""


class AnswerParser:
    """Splits the text of one answer; what may become a mark is held back until that is decided.

    Args:
        thinks: the model thinks between <think> and </think>.
        is_thinking: the prompt has opened the thinking already.
        tools: how the model writes calls, or None where it was offered no tools.
        schemas: by the names of the functions, the JSON schemas of their arguments.
        is_call: the whole answer is one call in JSON, because a grammar made it one.
    """

    def __init__(
        self,
        thinks: bool = False,
        is_thinking: bool = False,
        tools: ToolParser | None = None,
        schemas: dict[str, Any] | None = None,
        is_call: bool = False,
    ):
        self.thinks, self.tools, self.schemas, self.is_call = thinks, tools, schemas or {}, is_call
        self.state = "call" if is_call else "reasoning" if is_thinking else "content"
        self.text = ""
        self.call_count = 0
        self._is_first = True  # nothing but blanks was said so far

    def feed(self, piece: str) -> list[Delta]:
        """Return what is certain with the next piece of the text."""
        self.text += piece
        return list(self._certain())

    def close(self) -> list[Delta]:
        """Return what was held back; a call that is cut off, or is none, is content."""
        deltas, text = list(self._certain()), self.text
        if self.state == "call":
            deltas += self._calls(text)
        elif text and self.state == "content":
            deltas += self._content(text)
        elif text:
            deltas.append({"reasoning_content": text})
        self.text = ""
        return deltas

    def _certain(self) -> Iterator[Delta]:
        while True:
            marks = self._marks()
            places = [(place, mark) for mark in marks if (place := self._find(mark)) >= 0]
            if not places:
                break
            place, mark = min(places)
            before, self.text = self.text[:place], self.text[place + len(mark) :]
            yield from self._leave(before, mark)
        if self.state != "call":
            held = max((_overlap(self.text, mark) for mark in marks), default=0)
            ready, self.text = self.text[: len(self.text) - held], self.text[len(self.text) - held :]
            if ready:
                yield from self._content(ready) if self.state == "content" else [{"reasoning_content": ready}]

    def _find(self, mark: str) -> int:
        """Return where a mark stands in the text, or -1; thinking begins before anything is said."""
        place = self.text.find(mark)
        return -1 if mark == THINK and self.text[: max(place, 0)].strip() else place

    def _marks(self) -> list[str]:
        """Return the texts that end the present state."""
        if self.state == "reasoning":
            return [END_THINK]
        if self.state == "call":
            return [self.tools.END] if self.tools and self.tools.END and not self.is_call else []
        return [*([self.tools.BEGIN] if self.tools else []), *([THINK] if self.thinks and self._is_first else [])]

    def _leave(self, before: str, mark: str) -> Iterator[Delta]:
        if self.state == "call":
            yield from self._calls(before, mark)
        elif self.state == "reasoning":
            yield from [{"reasoning_content": before}] if before else []
            self._is_first = True
        else:
            yield from self._content(before)
        opens_call = self.state == "content" and mark != THINK
        self.state = "call" if opens_call else "reasoning" if mark == THINK else "content"

    def _content(self, text: str) -> list[Delta]:
        if self._is_first:
            text = text.lstrip() if self.thinks or self.call_count else text
            self._is_first = not text.strip()
        return [{"content": text}] if text else []

    def _calls(self, text: str, end: str = "") -> list[Delta]:
        try:
            calls = self._read(text)
        except (ValueError, TypeError):
            return [{"content": text if self.is_call or not self.tools else self.tools.BEGIN + text + end}]
        deltas = []
        for name, arguments in calls:
            function = {"name": name, "arguments": arguments}
            head = {"index": self.call_count, "id": f"call_{uuid.uuid4().hex[:24]}", "type": "function"}
            deltas.append({"tool_calls": [{**head, "function": function}]})
            self.call_count += 1
        self._is_first = True
        return deltas

    def _read(self, text: str) -> Calls:
        if self.is_call or not self.tools:
            return [call_of(json.loads(text))]
        return self.tools.calls(text, self.schemas)


def message_of(deltas: list[Delta]) -> dict[str, Any]:
    """Return the whole message of an answer from its pieces."""
    content = "".join(delta.get("content", "") for delta in deltas)
    reasoning = "".join(delta.get("reasoning_content", "") for delta in deltas)
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    message: dict[str, Any] = {"role": "assistant", "content": content if content.strip() or not calls else None}
    if reasoning:
        message["reasoning_content"] = reasoning
    if calls:
        message["tool_calls"] = [{key: value for key, value in call.items() if key != "index"} for call in calls]
    return message


def _overlap(text: str, mark: str) -> int:
    """Return the length of the longest ending of `text` that begins `mark`."""
    return next((n for n in range(min(len(text), len(mark) - 1), 0, -1) if mark.startswith(text[-n:])), 0)
