"""The dialects in which chat templates take messages, learned by rendering a probe in each."""

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
        arguments_as_text: a call's arguments become JSON text.
        numbered_ids: calls and results get ids of nine digits, as Mistral's templates demand.
    """

    parts: bool = False
    arguments_as_text: bool = False
    numbered_ids: bool = False

    def __call__(self, messages: list[Message]) -> list[Message]:
        """Return the messages in this dialect."""
        return list(self._translated(messages)) if any(self) else messages

    def _translated(self, messages: list[Message]) -> Iterator[Message]:
        import orjson

        calls_so_far = results_so_far = 0
        for original in messages:
            message = dict(original)
            if self.parts:
                message["content"] = [{"type": "text", "text": message["content"]}] if message["content"] else []
            if calls := message.get("tool_calls"):
                message["tool_calls"] = calls = [{**call, "function": dict(call["function"])} for call in calls]
                for call in calls:
                    function = call["function"]
                    if self.arguments_as_text and not isinstance(function["arguments"], str):
                        function["arguments"] = orjson.dumps(function["arguments"]).decode()
                    if self.numbered_ids:
                        call["id"], calls_so_far = f"{calls_so_far:09d}", calls_so_far + 1
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
        return renderer(dialect(messages), **variables)
    except Exception:  # a template raises what its author likes
        return ""
