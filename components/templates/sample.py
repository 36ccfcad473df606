"""A rendering of a row and what is learned of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from components.media import Medium
from components.rows import Message, Row
from components.templates.spans import Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Sample(NamedTuple):
    """A rendering of a row, and the characters of it that are learned.

    Attributes:
        row: the arguments with which `apply_chat_template` gives the text: `messages`, and where there are some
            `tools`, `chat_template_kwargs`, `chat_template` and `add_generation_prompt`. For a text without a template:
            `text`, and `open` if no end of text stands behind, or `as_is` for what the tokenizer makes of the text.
        text: the rendering.
        spans: what is learned, in order. A token crossing two adjacent spans is assigned to the span containing its
            first byte.
        weights: how much each span counts in the loss; 0 is not learned.
        structure: the roles and the number of learned turns; rows of one structure have one layout.
        suffix: the end of `text` that the template leaves to the next turn to write.
        media: each medium in the text, and the characters [start, end) that stand for it.
        expected: the ids of the model's own processor, for a text with media.
    """

    row: Row
    text: str
    spans: list[Span]
    weights: list[float]
    structure: tuple[str, ...]
    suffix: str = ""
    media: Sequence[tuple[Medium, Span]] = ()
    expected: list[int] | None = None

    def reference(self, tokenizer: "PreTrainedTokenizerBase") -> list[int]:
        """Return the ids of the row by `apply_chat_template`, or by the tokenizer for a text without a template."""
        if self.expected is not None:
            return self.expected
        if "text" in self.row:
            ids: list[int] = tokenizer.encode(self.row["text"])
            if self.row.get("as_is"):
                return ids
            eos = tokenizer.eos_token_id
            if self.row.get("open"):
                return ids[:-1] if ids[-1:] == [eos] else ids
            return ids if ids[-1:] == [eos] else [*ids, eos]  # type: ignore[list-item]
        arguments: dict[str, Any] = {
            "tools": self.row.get("tools"),
            "chat_template": self.row.get("chat_template"),
            "add_generation_prompt": self.row.get("add_generation_prompt", False),
            **self.row.get("chat_template_kwargs", {}),
        }
        if not self.suffix:
            return tokenizer.apply_chat_template(self.row["messages"], return_dict=False, **arguments)  # type: ignore[return-value]
        text = tokenizer.apply_chat_template(self.row["messages"], tokenize=False, **arguments)
        return tokenizer.encode(str(text) + self.suffix, add_special_tokens=False)


def structure(messages: Sequence[Message], learned: int) -> tuple[str, ...]:
    """Return the roles of the messages, with the names of what stands beside the content, and the learned turns."""
    return (*[_name(message) for message in messages], str(learned))


def _name(message: Message) -> str:
    if len(message) == 2:
        return message["role"]
    return message["role"] + "".join(f"+{key}" for key in ("reasoning_content", "tool_calls") if key in message)
