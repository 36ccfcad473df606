"""In which of the field's dialects a template wants its messages."""

from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple

from components.rows import Message
from components.templates.render import Renderer

PROBE = "\ue002probe\ue003"
TOOL = {
    "type": "function",
    "function": {
        "name": PROBE,
        "description": PROBE,
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]},
    },
}


class Form(NamedTuple):
    """What is done to canonical messages before the template sees them."""

    parts: bool = False
    """Contents are lists of parts: vision templates read nothing else."""
    arguments_as_text: bool = False
    """A call's arguments are JSON text, not an object."""
    numbered_ids: bool = False
    """Calls have ids of nine characters, as Mistral's templates demand."""

    def __call__(self, messages: list[Message]) -> list[Message]:
        if not any(self):
            return messages
        return list(self._changed(messages))

    def _changed(self, messages: list[Message]) -> Iterator[Message]:
        import orjson

        called = answered = 0
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
                        call["id"], called = f"{called:09d}", called + 1
            if self.numbered_ids and message["role"] == "tool":
                message["tool_call_id"], answered = f"{answered:09d}", answered + 1
            yield message


def text_form(renderer: Renderer) -> Form:
    """Whether contents are texts or lists of parts."""
    for parts in (False, True):
        if PROBE in _try(renderer, Form(parts), [{"role": "user", "content": PROBE}]):
            return Form(parts)
    return Form()


def call_form(renderer: Renderer, form: Form, **variables: Any) -> Form:
    """`form`, and how calls are to be given so that they come out as JSON, or in a syntax of the template's own."""
    call = {"type": "function", "function": {"name": PROBE, "arguments": {"place": PROBE}}}
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "", "tool_calls": [call]}]
    for numbered_ids, arguments_as_text in product((False, True), repeat=2):
        candidate = Form(form.parts, arguments_as_text, numbered_ids)
        text = _try(renderer, candidate, messages, tools=[TOOL], **variables)
        bare = _try(renderer, candidate, messages[:1], tools=[TOOL], **variables)
        shown = text.count(PROBE) - bare.count(PROBE) >= 2 or text.count("\\ue002probe")  # name and argument
        if shown and "'place'" not in text[len(bare) :] and '\\"place\\"' not in text:
            return candidate
    return form


def _try(renderer: Renderer, form: Form, messages: list[Message], **given: Any) -> str:
    try:
        return renderer(form(messages), **given)
    except Exception:  # a template raises what its author likes
        return ""
