"""A tokenizer's chat template, compiled once in transformers' sandbox, and the date that it is told."""

import json
import re
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

from components.rows import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Span = tuple[int, int]
Render = Callable[..., str]
"""`(messages, add_generation_prompt=False) -> text`; raises what the template raises."""

GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")
TODAY = date(2025, 1, 1)
"""The date that templates with `strftime_now` are told: the same rows give the same tokens on any day."""


class Renderer:
    """One Jinja template with the tokenizer's special tokens.

    Rendering goes round `apply_chat_template`, which spends as long again on copies; the texts are the same.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", source: str) -> None:
        from transformers.utils.chat_template_utils import _compile_jinja_template

        self.source = _with_fixed_date(source) if "strftime_now" in source else source
        self._template = _compile_jinja_template(self.source)
        self._base = {**tokenizer.special_tokens_map, "documents": None}
        self._globals = dict(self._template.globals)
        self.pinned = self.source != source

    def __call__(
        self,
        messages: list[Message],
        add_generation_prompt: bool = False,
        tools: list[dict[str, Any]] | None = None,
        **variables: Any,
    ) -> str:
        """The text of a conversation; `variables` are the template's own (`enable_thinking`)."""
        for message in messages:
            if "reasoning_content" in message:
                messages = _with_thinking(messages)
                break
        given = {**self._globals, **self._base, **variables}
        given["messages"], given["add_generation_prompt"], given["tools"] = messages, add_generation_prompt, tools
        # `shared`: the globals are among them already; merging them anew is a quarter of the time.
        return "".join(self._template.root_render_func(self._template.new_context(given, shared=True)))

    def blocks(self, messages: list[Message], **variables: Any) -> list[Span]:
        """The characters that the template itself says the model writes, in `{% generation %}` blocks."""
        from transformers.utils.chat_template_utils import render_jinja_template

        _, spans = render_jinja_template(  # type: ignore[misc]
            conversations=[messages],
            chat_template=self.source,
            return_assistant_tokens_mask=True,
            **(self._base | variables),  # type: ignore[arg-type]
        )
        return spans[0]  # type: ignore[return-value]

    @property
    def has_blocks(self) -> bool:
        return GENERATION.search(self.source) is not None


def _with_thinking(messages: list[Message]) -> list[Message]:
    """Messages whose thoughts have gpt-oss's name for them, too, as `apply_chat_template` has it."""
    return [{"thinking": m["reasoning_content"], **m} if "reasoning_content" in m else m for m in messages]


def _with_fixed_date(source: str) -> str:
    """The template with a `strftime_now` of its own, so that `apply_chat_template` gives the same text."""
    from jinja2 import nodes
    from transformers.utils.chat_template_utils import _compile_jinja_template

    constants = _compile_jinja_template(source).environment.parse(source).find_all(nodes.Const)
    formats = {str(node.value) for node in constants if isinstance(node.value, str) and "%" in node.value}
    dates = json.dumps({text: TODAY.strftime(text) for text in sorted(formats)})
    return "{% macro strftime_now(format) %}{{ " + dates + "[format] }}{% endmacro %}\n" + source
