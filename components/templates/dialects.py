"""The dialects in which chat templates take messages, learned by rendering a probe in each."""

import json
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

from components.rows import Message
from components.templates.renderer import Renderer

PROBE = "\ue002probe\ue003"
PROBE_TOOL = {
    "type": "function",
    "function": {
        "name": PROBE,
        "description": PROBE,
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}


class Dialect(NamedTuple):
    """How canonical messages are changed for a template.

    Attributes:
        parts: contents become lists of parts, as vision templates demand.
        arguments_as_text: a call's arguments are JSON, not an object.
        numbered_ids: calls and results get ids of nine digits, as Mistral's templates demand.
    """

    parts: bool = False
    arguments_as_text: bool = False
    numbered_ids: bool = False

    def with_arguments(self, messages: list[Message]) -> list[Message]:
        """Return the messages with the arguments of each call as the template takes them: an object, or JSON, which
        stays as it is spelled where the messages have it."""
        return [
            {**m, "tool_calls": [self._with_arguments(call) for call in m["tool_calls"]]} if "tool_calls" in m else m
            for m in messages
        ]

    def _with_arguments(self, call: dict[str, Any]) -> dict[str, Any]:
        import orjson

        arguments = call["function"]["arguments"]
        if isinstance(arguments, str) and not self.arguments_as_text:
            arguments = json.loads(arguments)  # orjson would make floats of long integers
        elif self.arguments_as_text and not isinstance(arguments, str):
            arguments = orjson.dumps(arguments).decode()
        return {**call, "function": {**call["function"], "arguments": arguments}}

    def __call__(self, messages: list[Message]) -> list[Message]:
        """Return messages, their calls `with_arguments`, in this dialect."""
        return list(self._translated(messages)) if any(self) else messages

    def _translated(self, messages: list[Message]) -> Iterator[Message]:
        calls_so_far = results_so_far = 0
        for original in messages:
            message = dict(original)
            if self.parts:
                message["content"] = [{"type": "text", "text": message["content"]}] if message["content"] else []
            if self.numbered_ids and (calls := message.get("tool_calls")):
                ids = range(calls_so_far, calls_so_far := calls_so_far + len(calls))
                message["tool_calls"] = [{**call, "id": f"{n:09d}"} for n, call in zip(ids, calls, strict=True)]
            if self.numbered_ids and message["role"] == "tool":
                message["tool_call_id"], results_so_far = f"{results_so_far:09d}", results_so_far + 1
            yield message


def content_dialect(renderer: Renderer) -> Dialect:
    """Return the dialect of contents: texts, or lists of parts where the template shows nothing of a text."""
    for parts in (False, True):
        if PROBE in _render(renderer, Dialect(parts), [{"role": "user", "content": PROBE}]):
            return Dialect(parts)
    return Dialect()


def call_dialect(renderer: Renderer, contents: Dialect, **variables: Any) -> Dialect:
    """Return the dialect in which calls come out as JSON or in the template's own syntax, with contents as given."""
    call = {"type": "function", "function": {"name": PROBE, "arguments": {"place": PROBE}}}
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    for numbered_ids, arguments_as_text in product((False, True), repeat=2):
        candidate = Dialect(contents.parts, arguments_as_text, numbered_ids)
        text = _render(renderer, candidate, messages, tools=[PROBE_TOOL], **variables)
        without_call = _render(renderer, candidate, messages[:1], tools=[PROBE_TOOL], **variables)
        has_call = text.count(PROBE) - without_call.count(PROBE) >= 2  # name and argument
        has_call = has_call or "\\ue002probe" in text
        if has_call and "'place'" not in text[len(without_call) :] and '\\"place\\"' not in text:
            return candidate
    return contents


def _render(renderer: Renderer, dialect: Dialect, messages: list[Message], **variables: Any) -> str:
    """Return the text of the messages in a dialect, or "" if the template raises."""
    try:
        return renderer(dialect(dialect.with_arguments(messages)), **variables)
    except Exception:  # a template raises what its author likes
        return ""
