"""One chat template with one set of tools and variables: which characters of a conversation are its answers."""

import json
import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from components.rows import Message
from components.templates.answers import Answer, AnswerReader
from components.templates.dialects import Dialect
from components.templates.message_shape import Shape, are_plain, message_shape
from components.templates.patterns import any_of
from components.templates.refused import Refused
from components.templates.renderer import Renderer, render_or_none, render_or_refuse
from components.templates.sentinels import SentinelMessage, without_sentinels
from components.templates.template_layout import TemplateLayout, probe, read_layout
from components.templates.thoughts import THOUGHT_TAG

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Answers = dict[int, Answer]
"""Answers that one rendering teaches, by message; the last of them ends the rendering."""


class BoundTemplate:
    """A chat template with tools and variables.

    Args:
        renderer: the template.
        dialect: how messages are given to the template.
        reader: reads answers off the template's renderings.
        tools: of the rows, or None.
        variables: the template's own (`enable_thinking`).

    Raises:
        Refused: the template does not write the tools.
    """

    def __init__(
        self,
        renderer: Renderer,
        dialect: Dialect,
        reader: AnswerReader,
        tools: list[dict[str, Any]] | None,
        variables: dict[str, Any],
    ) -> None:
        self.renderer, self.dialect, self.reader = renderer, dialect, reader
        self.tools, self.variables = tools, variables
        self.has_arguments = bool(tools or variables)
        self._layouts: dict[tuple[Shape, ...], TemplateLayout | None] = {}
        self._outside_blocks: dict[tuple[str, ...], set[int]] = {}
        if tools:
            text = render_or_refuse(reader.render, [{"role": "user", "content": "?"}])
            names = [tool.get("function", tool).get("name", "") for tool in tools]
            if not all(name and name in text for name in names):
                raise Refused("the template does not show the tools")

    def arguments(self, messages: list[Message], prompt: bool = False) -> dict[str, Any]:
        """Return the arguments with which `apply_chat_template` renders `messages`, as fields of a row.

        Args:
            messages: in canonical form.
            prompt: with the generation prompt behind.
        """
        row: dict[str, Any] = {"messages": self.dialect(messages)}
        if prompt:
            row["add_generation_prompt"] = True
        if self.tools:
            row["tools"] = self.tools
        if self.variables:
            row["chat_template_kwargs"] = self.variables
        if self.renderer.has_fixed_date:
            row["chat_template"] = self.renderer.source
        return row

    def by_layout(self, messages: list[Message], roles: tuple[str, ...], turns: Sequence[int]) -> list[Answers] | None:
        """Return the answers at `turns` by the layout of the conversation, or None if its texts change the layout.

        Raises:
            Refused: an answer is empty, or the template refuses the conversation.
        """
        renderings: list[Answers] = []
        outside = self._turns_outside_blocks(roles)
        remaining = [i for i in turns if i not in outside]
        while remaining:
            head = messages[: remaining[-1] + 1]
            layout, texts = self._layout_of(head, roles)
            if layout is None:
                return None
            text, texts = render_or_refuse(self.reader.render, head) + layout.suffix, layout.trimmed(texts)
            if layout.filled(texts) != text:
                return None
            answers = layout.place(texts, text)
            renderings.append({i: answers[i] for i in remaining if i in answers})
            if not all(texts[layout.answers[i].last] for i in renderings[-1]):
                raise Refused("an assistant's text is empty")
            remaining = [i for i in remaining if i not in answers]
        return renderings[::-1]

    def by_turn(self, messages: list[Message], turns: Sequence[int]) -> list[Answers]:
        """Return the answers at `turns`, each read off a rendering that ends with it.

        Raises:
            Refused: an answer cannot be learned, or the text of another message is not in the rendering.
        """
        outside = self._outside(messages)
        remaining = {i: self.reader.read(messages[: i + 1]) for i in turns if i not in outside}
        renderings: list[Answers] = []
        while remaining:
            last = max(remaining)
            text = remaining[last].text
            answers = {i: a for i, a in remaining.items() if text.startswith(a.text[: a.end])}
            remaining = {i: a for i, a in remaining.items() if i not in answers}
            refuse_missing_texts(messages[:last], text)
            renderings.append({i: answer._replace(text=text) for i, answer in answers.items()})
        return renderings[::-1]

    def _layout_of(self, messages: list[Message], roles: tuple[str, ...]) -> tuple[TemplateLayout | None, list[str]]:
        """Return the layout of a conversation, None where there is none, and its texts in the order of the slots."""
        if are_plain(messages):
            texts = [message["content"] for message in messages]
            layout = self._layout(tuple([(role,) for role in roles[: len(messages)]]))
            if layout and not (layout.has_thoughts and THOUGHT_TAG.search("".join(texts))):
                return layout, texts
        shapes: list[Shape] = []
        texts = []
        for message in messages:
            shape = message_shape(message)
            if shape is None:
                return None, []
            shapes.append(shape[0])
            texts += shape[1]
        if all(len(shape) == 1 for shape in shapes):
            return None, []
        return self._layout(tuple(shapes)), texts

    def _layout(self, shapes: tuple[Shape, ...]) -> TemplateLayout | None:
        if shapes not in self._layouts:
            try:
                self._layouts[shapes] = read_layout(self.reader, shapes)
            except Refused:
                self._layouts[shapes] = None
        return self._layouts[shapes]

    def _turns_outside_blocks(self, roles: tuple[str, ...]) -> set[int]:
        """Return the assistant's turns outside of the template's `{% generation %}` blocks, if it has blocks."""
        if not self.renderer.has_blocks:
            return set()
        if roles not in self._outside_blocks:
            self._outside_blocks[roles] = self._outside(probe(roles))
        return self._outside_blocks[roles]

    def _outside(self, messages: list[Message]) -> set[int]:
        turns: set[int] = set()
        if not self.renderer.has_blocks:
            return turns
        render_or_refuse(self.reader.render, messages)
        blocks = self.renderer.blocks(self.dialect(messages), tools=self.tools, **self.variables)
        for i, message in enumerate(messages):
            if message["role"] == "assistant":
                others = [*messages[:i], SentinelMessage(message).message, *messages[i + 1 :]]
                _, positions = without_sentinels(render_or_none(self.reader.render, others) or "")
                every = [position for of_one in positions.values() for position in of_one]
                if every and not any(start <= position <= end for position in every for start, end in blocks):
                    turns.add(i)
        return turns


def answer_reader(
    tokenizer: "PreTrainedTokenizerBase",
    renderer: Renderer,
    dialect: Dialect,
    stops: frozenset[str],
    suffix: str | None,
    tools: list[dict[str, Any]] | None,
    variables: dict[str, Any],
) -> AnswerReader:
    """Return the reader of answers for a template in a dialect with tools and variables."""
    added = any_of(token.content for token in tokenizer.added_tokens_decoder.values()).pattern
    bound = partial(renderer, tools=tools, **variables)
    render = bound if not any(dialect) else lambda messages, **options: bound(dialect(messages), **options)
    return AnswerReader(render, re.compile(rf"\s*(?:{added})"), stops, suffix)


def refuse_missing_texts(messages: list[Message], text: str) -> None:
    """Raise Refused if a question's, system prompt's or tool result's text is not in the rendering `text`."""
    for message in messages:
        content = message["content"].strip()
        spellings = (content, json.dumps(content, ensure_ascii=False)[1:-1], json.dumps(content)[1:-1])
        if message["role"] != "assistant" and not any(spelling in text for spelling in spellings):
            raise Refused("the template leaves out a message's text", f"the {message['role']}'s")
