"""The bound templates of rows, by the tools and variables of the rows."""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from components.errors import ConfigError
from components.rows import Message, Row
from components.templates.bound_template import BoundTemplate, answer_reader
from components.templates.budget import require_bounded
from components.templates.control_tokens import control_tokens, refuse_control_tokens
from components.templates.dialects import Dialect, call_dialect, content_dialect
from components.templates.media_texts import MediaTexts
from components.templates.refused import Refused
from components.templates.renderer import Renderer
from components.templates.stop_tokens import stop_tokens

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

RESERVED_ARGUMENTS = {
    "add_generation_prompt", "chat_template", "continue_final_message", "conversation", "documents", "max_length",
    "messages", "padding", "return_assistant_tokens_mask", "return_dict", "return_tensors", "sanitize_control_tokens",
    "tokenize", "tokenizer_kwargs", "tools", "truncation",
}  # fmt: skip
"""Arguments of `apply_chat_template` that `chat_template_kwargs` must not set."""
MAX_BINDINGS = 1000
"""Bound templates that are kept: some data sets have tools of their own in each row."""


class Bindings:
    """The chat template of a tokenizer, bound to the tools and variables of any row.

    Args:
        tokenizer: with the template.
        variables: of the template, for rows without `chat_template_kwargs`.
        suffix: the end tag of answers whose template writes none.

    Raises:
        ConfigError: the model does not stop at `suffix`.
    """

    def __init__(
        self, tokenizer: "PreTrainedTokenizerBase", variables: dict[str, Any], suffix: str | None = None
    ) -> None:
        self.tokenizer, self.variables, self.stops, self.suffix = tokenizer, variables, stop_tokens(tokenizer), suffix
        if suffix and suffix not in self.stops:
            raise ConfigError(
                f"response_suffix: the model does not stop at {suffix!r}; it stops at {', '.join(sorted(self.stops))}"
            )
        self._renderers: dict[str, tuple[Renderer, Dialect]] = {}
        self._templates: dict[tuple[bool, bytes], BoundTemplate | Refused] = {}
        self._call_dialects: dict[tuple[str, bytes], Dialect] = {}
        self._control_tokens: dict[tuple[str, Dialect, bool], re.Pattern[str]] = {}
        self._media_texts: dict[str, MediaTexts] = {}

    def bind(self, row: Row, has_calls: bool) -> BoundTemplate:
        """Return the template bound to a row's tools and variables.

        Raises:
            Refused: the template cannot be bound to them.
        """
        import orjson

        tools, variables, key = row.get("tools") or None, self.variables, (has_calls, b"")
        if tools or "chat_template_kwargs" in row:
            variables = variables | row.get("chat_template_kwargs", {})
            key = (has_calls, orjson.dumps((tools, variables)))
        if key not in self._templates:
            if len(self._templates) > MAX_BINDINGS:
                self._templates.clear()
                self._call_dialects.clear()
            try:
                self._templates[key] = self._bound(tools, variables, has_calls)
            except Refused as refusal:
                self._templates[key] = refusal
        template = self._templates[key]
        if isinstance(template, Refused):
            raise template
        return template

    def renderer(self, source: str) -> tuple[Renderer, Dialect]:
        """Return the renderer of a template, and the dialect of its contents."""
        if source not in self._renderers:
            require_bounded(source)
            renderer = Renderer(self.tokenizer, source)
            self._renderers[source] = renderer, content_dialect(renderer)
        return self._renderers[source]

    def media_texts(self, template: BoundTemplate, tokens: Callable[[str], Sequence[str]]) -> MediaTexts:
        """Return what writes media as a template does; `tokens` are the processor's for a kind of medium."""
        source = template.renderer.source
        if source not in self._media_texts:
            self._media_texts[source] = MediaTexts(template.renderer, template.dialect, tokens)
        return self._media_texts[source]

    def refuse_control_tokens(
        self, template: BoundTemplate, messages: list[Message], has_results: bool, plain: bool
    ) -> None:
        """Raise Refused if a text of the messages, or of the template's tools and variables, holds a control token."""
        key = template.renderer.source, template.dialect, has_results
        if key not in self._control_tokens:
            without_tools = (template.renderer, template.dialect, self.stops, self.suffix, None, self.variables)
            reader = answer_reader(self.tokenizer, *without_tools)
            self._control_tokens[key] = control_tokens(self.tokenizer, reader, has_results)
        pattern = self._control_tokens[key]
        if not plain or template.has_arguments or pattern.search("\0".join([m["content"] for m in messages])):
            refuse_control_tokens(pattern, messages, template.tools, template.variables)

    def _bound(self, tools: list[dict[str, Any]] | None, variables: dict[str, Any], has_calls: bool) -> BoundTemplate:
        if reserved := RESERVED_ARGUMENTS & variables.keys():
            raise Refused("chat_template_kwargs sets an argument that is not the template's", min(reserved))
        if not all(isinstance(tool, dict) for tool in tools or []):
            raise Refused("a tool is not an object")
        renderer, dialect = self.renderer(self.tokenizer.get_chat_template(tools=tools))  # type: ignore[arg-type]
        if has_calls:
            dialect = self._call_dialect(renderer, dialect, variables)
        reader = answer_reader(self.tokenizer, renderer, dialect, self.stops, self.suffix, tools, variables)
        return BoundTemplate(renderer, dialect, reader, tools, variables)

    def _call_dialect(self, renderer: Renderer, contents: Dialect, variables: dict[str, Any]) -> Dialect:
        import orjson

        key = renderer.source, orjson.dumps(variables)
        if key not in self._call_dialects:
            self._call_dialects[key] = call_dialect(renderer, contents, **variables)
        return self._call_dialects[key]
