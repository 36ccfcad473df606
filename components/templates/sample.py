"""A rendered row and what is learned of it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from components.rows import Message, Row
from components.templates.render import Span

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Sample(NamedTuple):
    """A rendered row and the characters [start, end) of it that are learned, in order."""

    row: Row
    """What the template was given: `messages`, and `tools`, `chat_template_kwargs`, `chat_template` and
    `add_generation_prompt` where there are some; for a text that no template has made, `text`."""
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
        if "text" in self.row:
            ids: list[int] = tokenizer.encode(self.row["text"])
            return ids if ids[-1:] == [tokenizer.eos_token_id] else [*ids, tokenizer.eos_token_id]  # type: ignore[list-item]
        given = {"tools": self.row.get("tools"), "chat_template": self.row.get("chat_template")}
        given |= {"add_generation_prompt": self.row.get("add_generation_prompt", False)}
        given |= self.row.get("chat_template_kwargs", {})
        if not self.suffix:
            return tokenizer.apply_chat_template(self.row["messages"], return_dict=False, **given)  # type: ignore[return-value]
        text = tokenizer.apply_chat_template(self.row["messages"], tokenize=False, **given)
        return tokenizer.encode(str(text) + self.suffix, add_special_tokens=False)


def structure(messages: Sequence[Message], learned: int) -> tuple[str, ...]:
    """The structure of a sample of these messages: their roles with what is beside the content, and the answers."""
    return (*[_kind(message) for message in messages], str(learned))


def _kind(message: Message) -> str:
    if len(message) == 2:
        return message["role"]
    return message["role"] + "".join(f"+{key}" for key in ("reasoning_content", "tool_calls") if key in message)
