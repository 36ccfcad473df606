"""A tokenizer's chat template: what it renders, and which characters of that a model learns."""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from components.errors import ConfigError
from components.rows import Row
from components.templates.layout import Layout, Message, Span, attempt, read_layout

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")


class Refused(Exception):  # noqa: N818  # handed on as a value, too
    """A row that is not learned from: `reason` is the same for all rows of its kind, `detail` is about this one."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


class Sample(NamedTuple):
    """A rendered conversation and the characters [start, end) of it that are learned, in order."""

    row: Row
    """What the template was given: `messages`, and `tools` and `chat_template_kwargs` where there are some."""
    text: str
    spans: list[Span]
    """Spans that touch are parts of one turn: a token over their border belongs to the one that it begins in."""
    weights: list[float]
    """How much each span counts in the loss; 0 is not learned."""
    structure: tuple[str, ...]
    """The roles, and how many of the turns are learned: rows of one structure are laid out alike."""
    suffix: str = ""
    """The end of `text` that the template leaves to the next turn to write."""

    def reference(self, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
        """The ids that the tokenizer itself gives for the row, by `apply_chat_template`."""
        ids: list[int] = tokenizer.apply_chat_template(  # type: ignore[assignment]
            self.row["messages"],
            tools=self.row.get("tools"),
            tokenize=True,
            return_dict=False,
            **self.row.get("chat_template_kwargs", {}),
        )
        return ids + tokenizer.encode(self.suffix, add_special_tokens=False) if self.suffix else ids


class ChatTemplate:
    """The tokenizer's own template, rendered in transformers' sandbox, with the layouts learned from it so far.

    Args:
        tokenizer: with a chat template and a `tokenizers` backend.
        system: the system prompt of conversations that bring none.

    Raises:
        ConfigError: the tokenizer has no chat template, or no fast backend.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", system: str | None = None) -> None:
        where = f"{tokenizer.name_or_path}: " if tokenizer.name_or_path else ""
        if not tokenizer.chat_template:
            raise ConfigError(
                f"{where}the tokenizer has no chat template; choose an instruct model, or put a chat_template.jinja "
                "beside its tokenizer.json"
            )
        if not getattr(tokenizer, "is_fast", False):
            raise ConfigError(f"{where}the tokenizer has no tokenizer.json, which exact loss masks need")
        self.tokenizer = tokenizer
        self.system = system
        self.source: str = tokenizer.get_chat_template()
        self._special = [t.content for t in tokenizer.added_tokens_decoder.values() if t.special]
        self._added = [t.content for t in tokenizer.added_tokens_decoder.values()]
        self._layouts: dict[tuple[str, ...], tuple[Layout, re.Pattern[str]] | Refused] = {}

    def render(self, messages: list[Message], add_generation_prompt: bool = False) -> str:
        """The template's text for `messages`; raises whatever the template raises."""
        return self.tokenizer.apply_chat_template(  # type: ignore[return-value]
            messages, tokenize=False, add_generation_prompt=add_generation_prompt
        )

    def samples(self, row: Row) -> list[Sample]:
        """What is learned of a row: one sample with all its assistant turns, or one sample per turn where
        the template shows an earlier answer otherwise than it was to be given.

        Raises:
            Refused: when not all of it can be learned exactly.
        """
        messages = row.get("messages") or []
        if self.system is not None and (not messages or messages[0]["role"] != "system"):
            messages = [{"role": "system", "content": self.system}, *messages]
        layout, control = self._layout(messages)
        for n, message in enumerate(messages, 1):
            if found := control.search(message["content"]):
                raise Refused("a text holds a control token of the tokenizer", f"{found.group()!r} in message {n}")
        text, contents = self._render(messages), layout.contents(messages)
        if any(not contents[i] for i in layout.answers):
            raise Refused("an assistant's text is empty")
        if layout.stable and layout.fill(contents) == text:
            spans = list(layout.spans(contents).values())
            return [Sample({"messages": messages}, text, spans, [1.0] * len(spans), _structure(messages, len(spans)))]
        return [self._answer(messages[: i + 1]) for i in layout.answers]

    def _answer(self, messages: list[Message]) -> Sample:
        """The sample that learns the last answer only."""
        layout, _ = self._layout(messages)
        text, contents = self._render(messages), layout.contents(messages)
        last = len(messages) - 1
        if last not in layout.turns:
            raise Refused(
                "the template does not write the assistant's text as it is, right after the prompt that asks for it "
                "and right before an end-of-turn token"
            )
        if layout.fill(contents) == text:
            span = layout.spans(contents)[last]
        else:
            span = self._after_prompt(messages, text, contents[last], layout)
        return Sample({"messages": messages}, text, [span], [1.0], _structure(messages, 1))

    def _after_prompt(self, messages: list[Message], text: str, content: str, layout: Layout) -> Span:
        """Where the texts themselves change the layout (thoughts in an answer): all that follows the generation
        prompt, when it is the answer, to the last character."""
        lead, tail = layout.turns[len(messages) - 1]
        prompt = attempt(self.render, messages[:-1], add_generation_prompt=True)
        end = len(text) - len(layout.after())
        start = end - len(tail) - len(content)
        if prompt is None or not text.startswith(prompt) or text[start:] != content + tail + layout.after():
            raise Refused("the template rewrites an assistant's text", f"in message {len(messages)}")
        between = text[len(prompt) : start]
        if between.strip() and between != lead:
            raise Refused("the template writes something else before the answer", repr(between[:80]))
        return len(prompt), end

    def _render(self, messages: list[Message]) -> str:
        try:
            return self.render(messages)
        except Exception as error:  # a template raises what its author likes
            raise Refused("the template refuses the conversation", str(error)) from error

    def _layout(self, messages: Iterable[Message]) -> tuple[Layout, re.Pattern[str]]:
        """The layout of these roles, and what matches a control token in a text. Kept, refusals included."""
        roles = tuple(message["role"] for message in messages)
        if roles not in self._layouts:
            try:
                self._layouts[roles] = self._read(roles)
            except Refused as refusal:
                self._layouts[roles] = refusal
            except Exception as error:
                self._layouts[roles] = Refused("the template refuses the conversation", str(error))
        known = self._layouts[roles]
        if isinstance(known, Refused):
            raise known
        return known

    def _read(self, roles: tuple[str, ...]) -> tuple[Layout, re.Pattern[str]]:
        if "assistant" not in roles:
            raise Refused("there is no assistant turn")
        end_tag = re.compile(rf"\s*(?:{_any(self._added)})")
        layout = read_layout(self.render, roles, end_tag, self._authored)
        if not layout.answers:
            raise Refused("the template's generation blocks hold no assistant turn")
        # Of the other added tokens, those that shape turns: thoughts, say, an answer may well hold.
        asked = [p for p, i in zip(layout.pieces, layout.order, strict=False) if roles[i] != "assistant"]
        shape = "".join([*asked, *(turn.tail for turn in layout.turns.values())])
        control = [*self._special, *(token for token in self._added if token in shape)]
        return layout, re.compile(_any(control))

    def _authored(self, messages: list[Message]) -> list[Span] | None:
        if not GENERATION.search(self.source):
            return None
        from transformers.utils.chat_template_utils import render_jinja_template

        _, spans = render_jinja_template(  # type: ignore[misc]
            conversations=[messages],
            chat_template=self.source,
            return_assistant_tokens_mask=True,
            **self.tokenizer.special_tokens_map,  # type: ignore[arg-type]
        )
        return spans[0]  # type: ignore[return-value]


def _structure(messages: list[Message], learned: int) -> tuple[str, ...]:
    return (*(message["role"] for message in messages), str(learned))


def _any(words: list[str]) -> str:
    """A pattern for any of `words`, the longest first; for no words, one that matches nothing."""
    return "|".join(re.escape(word) for word in sorted(set(words), key=len, reverse=True)) or "(?!)"
