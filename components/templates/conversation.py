"""One template with one set of tools and variables: what is learned of the conversations it renders."""

import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from components.rows import Message
from components.templates.answers import Answer, Reader, attempt, rendered
from components.templates.control import any_of
from components.templates.forms import Form
from components.templates.layout import Layout, mark, read_layout
from components.templates.marks import THOUGHT_TAG, Marked, unmarked
from components.templates.refused import Refused
from components.templates.render import Renderer
from components.templates.slots import Shape, is_plain, slots

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Group = dict[int, Answer]
"""Answers that one rendering teaches, by message; the last of them ends it."""


class Conversations:
    """Conversations with certain tools and template variables.

    Args:
        tokenizer: whose template it is.
        renderer: the template, compiled.
        form: how contents are given to it.
        stops: the tokens that a served model stops at.
        tools: the tools of the rows, or None.
        variables: the template's own (`enable_thinking`).
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        renderer: Renderer,
        form: Form,
        stops: frozenset[str],
        tools: list[dict[str, Any]] | None,
        variables: dict[str, Any],
    ) -> None:
        self.renderer, self.form, self.tools, self.variables = renderer, form, tools, variables
        added = any_of(token.content for token in tokenizer.added_tokens_decoder.values()).pattern
        plain = partial(renderer, tools=tools, **variables)
        render = plain if not any(form) else lambda messages, **options: plain(form(messages), **options)
        self.reader = Reader(render, re.compile(rf"\s*(?:{added})"), stops)
        self.own = bool(tools or variables)
        """Whether there is more to these conversations than messages."""
        self._layouts: dict[tuple[Shape, ...], Layout | None] = {}
        self._silent: dict[tuple[str, ...], set[int]] = {}
        if tools and (reason := self._tools_unseen()):
            raise Refused(*reason)

    def given(self, messages: list[Message], asked: bool = False) -> dict[str, Any]:
        """What `apply_chat_template` is to be called with to render `messages`, or to ask for the last of them."""
        row: dict[str, Any] = {"messages": self.form(messages)}
        if asked:
            row = {"messages": row["messages"][:-1], "add_generation_prompt": True}
        if self.tools:
            row["tools"] = self.tools
        if self.variables:
            row["chat_template_kwargs"] = self.variables
        if self.renderer.pinned:
            row["chat_template"] = self.renderer.source
        return row

    def plain(self, messages: list[Message], roles: tuple[str, ...], wanted: Sequence[int]) -> list[Group] | None:
        """The answers of a conversation of roles, contents and thoughts, or None where its texts change the layout.

        Raises:
            Refused: an answer cannot be learned.
        """
        groups: list[Group] = []
        left = [i for i in wanted if i not in self.silent(roles)]
        while left:
            said = messages if left[-1] + 1 == len(messages) else messages[: left[-1] + 1]
            placed = self._placed(said, roles)
            if placed is None:
                return None
            layout, texts = placed
            text, texts = rendered(self.reader.render, said) + layout.suffix, layout.trimmed(texts)
            if layout.fill(texts) != text:
                return None
            answers = layout.answers(texts, text)
            groups.append({i: answers[i] for i in left if i in answers})
            if not all(texts[layout.turns[i].last] for i in groups[-1]):
                raise Refused("an assistant's text is empty")
            left = [i for i in left if i not in answers]
        return groups[::-1]

    def _placed(self, messages: list[Message], roles: tuple[str, ...]) -> tuple[Layout, list[str]] | None:
        """The layout of a conversation, and its texts in the order of the layout's slots."""
        if is_plain(messages):
            texts = [message["content"] for message in messages]
            layout = self._layout(tuple([(role,) for role in roles[: len(messages)]]))
            if layout and not (layout.thinks and THOUGHT_TAG.search("".join(texts))):
                return layout, texts
        shaped = [slots(message) for message in messages]
        known = [found for found in shaped if found is not None]
        if len(known) < len(shaped) or all(len(shape) == 1 for shape, _ in known):
            return None
        layout = self._layout(tuple(shape for shape, _ in known))
        return (layout, [text for _, texts in known for text in texts]) if layout else None

    def exact(self, messages: list[Message], wanted: Sequence[int]) -> list[Group]:
        """The answers of any conversation, each read by itself.

        Raises:
            Refused: an answer cannot be learned, or what it answers is not there.
        """
        silent = self._silent_in(messages)
        answers = {i: self.reader.read(messages[: i + 1]) for i in wanted if i not in silent}
        groups: list[Group] = []
        while answers:
            last = answers[max(answers)]
            groups.append({i: a for i, a in answers.items() if last.text.startswith(a.text[: a.end])})
            answers = {i: a for i, a in answers.items() if i not in groups[-1]}
            self._shown(messages[: max(groups[-1])], last.text)
        return [{i: a._replace(text=group[max(group)].text) for i, a in group.items()} for group in groups[::-1]]

    def silent(self, roles: tuple[str, ...]) -> set[int]:
        """The answers that the template's own `{% generation %}` blocks leave out."""
        if not self.renderer.has_blocks:
            return set()
        if roles not in self._silent:
            self._silent[roles] = self._silent_in(mark(roles))
        return self._silent[roles]

    def _silent_in(self, messages: list[Message]) -> set[int]:
        silent: set[int] = set()
        if not self.renderer.has_blocks:
            return silent
        rendered(self.reader.render, messages)
        blocks = self.renderer.blocks(self.form(messages), tools=self.tools, **self.variables)
        for i, message in enumerate(messages):
            if message["role"] == "assistant":
                shown = attempt(self.reader.render, [*messages[:i], Marked(message).message, *messages[i + 1 :]])
                _, places = unmarked(shown or "")
                seen = [place for found in places.values() for place in found]
                if seen and not any(start <= place <= end for place in seen for start, end in blocks):
                    silent.add(i)
        return silent

    def _layout(self, shapes: tuple[Shape, ...]) -> Layout | None:
        if shapes not in self._layouts:
            try:
                self._layouts[shapes] = read_layout(self.reader, shapes)
            except Refused:
                self._layouts[shapes] = None
        return self._layouts[shapes]

    def _shown(self, messages: list[Message], text: str) -> None:
        """Raises Refused where what was asked, or a tool's result, is not in the text."""
        import json

        for message in messages:
            core = message["content"].strip()
            forms = (core, json.dumps(core, ensure_ascii=False)[1:-1], json.dumps(core)[1:-1])
            if message["role"] != "assistant" and not any(form in text for form in forms):
                raise Refused("the template leaves out a message's text", f"the {message['role']}'s")

    def _tools_unseen(self) -> tuple[str, ...] | None:
        messages = [{"role": "user", "content": "?"}]
        with_tools = rendered(self.reader.render, messages)
        names = [tool.get("function", tool).get("name", "") for tool in self.tools or []]
        if not all(name and name in with_tools for name in names):
            return ("the template does not show the tools",)
        return None
