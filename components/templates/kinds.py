"""The template's dealings with rows, kept by the tools and variables that the rows have."""

import re
from typing import TYPE_CHECKING, Any

from components.rows import Message, Row
from components.templates.control import control_pattern, refuse_control
from components.templates.conversation import Conversations
from components.templates.forms import Form, call_form, text_form
from components.templates.refused import Refused
from components.templates.render import Renderer
from components.templates.stops import stop_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OWN = {
    "add_generation_prompt", "chat_template", "continue_final_message", "conversation", "documents", "max_length",
    "messages", "padding", "return_assistant_tokens_mask", "return_dict", "return_tensors", "sanitize_control_tokens",
    "tokenize", "tokenizer_kwargs", "tools", "truncation",
}  # fmt: skip
"""Arguments of `apply_chat_template` that a row does not set."""
KINDS = 1000
"""Sets of tools and variables that are remembered: some data sets have tools of their own in each row."""


class Kinds:
    """`Conversations` for any row: `kinds.of(row, calls)`.

    Args:
        tokenizer: whose template it is.
        variables: the template's own, of rows that say nothing else.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", variables: dict[str, Any]) -> None:
        self.tokenizer, self.variables, self.stops = tokenizer, variables, stop_tokens(tokenizer)
        self._renderers: dict[str, tuple[Renderer, Form]] = {}
        self._kinds: dict[tuple[bool, bytes], Conversations | Refused] = {}
        self._call_forms: dict[tuple[str, bytes], Form] = {}
        self._control: dict[tuple[str, bool], re.Pattern[str]] = {}

    def of(self, row: Row, calls: bool) -> Conversations:
        """The conversations with this row's tools and variables. Kept, refusals included."""
        import orjson

        tools, variables, key = row.get("tools") or None, self.variables, (calls, b"")
        if tools or "chat_template_kwargs" in row:
            variables = variables | row.get("chat_template_kwargs", {})
            key = (calls, orjson.dumps((tools, variables)))
        if key not in self._kinds:
            if len(self._kinds) > KINDS:
                self._kinds.clear()
            try:
                self._kinds[key] = self._new(tools, variables, calls)
            except Refused as refusal:
                self._kinds[key] = refusal
        known = self._kinds[key]
        if isinstance(known, Refused):
            raise known
        return known

    def _new(self, tools: list[dict[str, Any]] | None, variables: dict[str, Any], calls: bool) -> Conversations:
        if taken := OWN & variables.keys():
            raise Refused("chat_template_kwargs sets an argument that is not the template's", min(taken))
        if not all(isinstance(tool, dict) for tool in tools or []):
            raise Refused("a tool is not an object")
        renderer, form = self.renderer(self.tokenizer.get_chat_template(tools=tools))  # type: ignore[arg-type]
        if calls:
            form = self._call_form(renderer, form, variables)
        return Conversations(self.tokenizer, renderer, form, self.stops, tools, variables)

    def _call_form(self, renderer: Renderer, form: Form, variables: dict[str, Any]) -> Form:
        import orjson

        key = renderer.source, orjson.dumps(variables)
        if key not in self._call_forms:
            self._call_forms[key] = call_form(renderer, form, **variables)
        return self._call_forms[key]

    def renderer(self, source: str) -> tuple[Renderer, Form]:
        if source not in self._renderers:
            renderer = Renderer(self.tokenizer, source)
            self._renderers[source] = renderer, text_form(renderer)
        return self._renderers[source]

    def check(self, kind: Conversations, messages: list[Message], roles: tuple[str, ...], plain: bool) -> None:
        """Raises Refused when a text holds a control token."""
        key = kind.renderer.source, "tool" in roles
        if key not in self._control:
            bare = Conversations(self.tokenizer, kind.renderer, kind.form, self.stops, None, self.variables)
            self._control[key] = control_pattern(self.tokenizer, bare.reader, ["tool"] if key[1] else [])
        pattern = self._control[key]
        # Nearly all rows are done with at one look.
        if not plain or kind.own or pattern.search("\0".join([message["content"] for message in messages])):
            refuse_control(pattern, messages, kind.tools, kind.variables)
