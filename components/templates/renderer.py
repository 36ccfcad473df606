"""A tokenizer's chat template, compiled once in transformers' sandbox, with a fixed date."""

import json
import re
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Any

from components.rows import Message
from components.templates.refused import Refused
from components.templates.spans import Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Render = Callable[..., str]
"""`(messages, add_generation_prompt=False) -> text`; raises what the template raises."""

GENERATION_BLOCK = re.compile(r"\{%-?\s*generation\s*-?%\}")
FIXED_DATE = date(2025, 1, 1)
"""What `strftime_now` writes in a template, so that the same rows give the same tokens on any day."""


class Renderer:
    """One chat template with the tokenizer's special tokens.

    The texts are those of `apply_chat_template`, which spends as long again on copies.

    Attributes:
        source: the template, with the fixed date where the template writes a date.
        has_fixed_date: `source` is not the tokenizer's own.
        has_blocks: the template marks what the model writes by `{% generation %}` blocks.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", source: str) -> None:
        from components.templates.limits import begin, compile_limited

        self.source = _with_fixed_date(source) if "strftime_now" in source else source
        self.has_fixed_date = self.source != source
        self.has_blocks = GENERATION_BLOCK.search(self.source) is not None
        self._template, self._begin = compile_limited(self.source), begin
        self._special_tokens = {**tokenizer.special_tokens_map, "documents": None}
        self._globals = dict(self._template.globals)

    def __call__(
        self,
        messages: list[Message],
        add_generation_prompt: bool = False,
        tools: list[dict[str, Any]] | None = None,
        **variables: Any,
    ) -> str:
        """Return the text of a conversation; `variables` are the template's own (`enable_thinking`)."""
        for message in messages:
            if "reasoning_content" in message:
                messages = _with_thinking(messages)
                break
        names = {**self._globals, **self._special_tokens, **variables}
        names["messages"], names["add_generation_prompt"], names["tools"] = messages, add_generation_prompt, tools
        self._begin()
        # `shared`: the globals are among the names; merging them anew is a quarter of the time.
        return "".join(self._template.root_render_func(self._template.new_context(names, shared=True)))

    def blocks(self, messages: list[Message], **variables: Any) -> list[Span]:
        """Return the characters inside of `{% generation %}` blocks."""
        from transformers.utils.chat_template_utils import render_jinja_template

        _, spans = render_jinja_template(  # type: ignore[misc]
            conversations=[messages],
            chat_template=self.source,
            return_assistant_tokens_mask=True,
            **(self._special_tokens | variables),  # type: ignore[arg-type]
        )
        return spans[0]  # type: ignore[return-value]


def render_or_refuse(render: Render, messages: list[Message], **options: bool) -> str:
    """Return the text of a conversation.

    Raises:
        Refused: the template raises an exception.
    """
    try:
        return render(messages, **options)
    except Exception as error:  # a template raises what its author likes
        raise Refused("the template refuses the conversation", str(error)) from error


def render_or_none(render: Render, messages: list[Message], **options: bool) -> str | None:
    """Return the text of a conversation, or None if the template raises (many want a user's turn first)."""
    try:
        return render(messages, **options)
    except Exception:
        return None


def _with_thinking(messages: list[Message]) -> list[Message]:
    """Return the messages with `reasoning_content` under gpt-oss's name too, as `apply_chat_template` has it."""
    return [{"thinking": m["reasoning_content"], **m} if "reasoning_content" in m else m for m in messages]


def _with_fixed_date(source: str) -> str:
    """Return the template with a macro `strftime_now`, so that `apply_chat_template` writes the fixed date too."""
    from jinja2 import nodes

    from components.templates._transformers_jinja import compile_template

    constants = compile_template(source).environment.parse(source).find_all(nodes.Const)
    formats = {str(node.value) for node in constants if isinstance(node.value, str) and "%" in node.value}
    dates = json.dumps({text: FIXED_DATE.strftime(text) for text in sorted(formats)})
    return "{% macro strftime_now(format) %}{{ " + dates + "[format] }}{% endmacro %}\n" + source
