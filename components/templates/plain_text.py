"""Samples that no template writes: plain texts, and conversations as their texts one after the other."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from components.errors import ConfigError
from components.rows import Message
from components.templates.control_tokens import refuse_control_tokens
from components.templates.message_shape import are_plain
from components.templates.patterns import any_of
from components.templates.refused import Refused
from components.templates.sample import Sample, structure

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class PlainText:
    """Plain texts for one tokenizer."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self.tokenizer = tokenizer
        self.special = any_of(token.content for token in tokenizer.added_tokens_decoder.values() if token.special)

    @cached_property
    def around(self) -> tuple[str, str]:
        """The tokens that the tokenizer writes before a text, and its end-of-text token.

        Raises:
            ConfigError: the tokenizer has no end-of-text token.
        """
        end = self.tokenizer.eos_token
        if not end:
            raise ConfigError("the tokenizer has no eos_token, which plain text has to end with")
        tokens = [str(self.tokenizer.convert_ids_to_tokens(i)) for i in self.tokenizer.encode("")]
        return "".join(token for token in tokens if token != end), str(end)

    def text(self, text: str) -> Sample:
        """Return a sample of a text with the end of text behind it, all of which is learned.

        Raises:
            Refused: the text is empty, or holds a special token.
        """
        self._require_text(text)
        begin, end = self.around
        whole = begin + text + end
        return Sample({"text": text}, whole, [(len(begin), len(whole))], [1.0], ("text", "1"))

    def whole(self, text: str) -> Sample:
        """Return a sample of a text as the tokenizer encodes it, with the special tokens that the tokenizer adds;
        nothing is learned.

        Raises:
            Refused: as `text`.
        """
        self._require_text(text)
        before, after = self.added
        return Sample({"text": text, "as_is": True}, before + text + after, [], [], ("text", "0"))

    def _require_text(self, text: str) -> None:
        refuse_control_tokens(self.special, [{"role": "text", "content": text}])
        if not text.strip():
            raise Refused("the text is empty")

    @cached_property
    def added(self) -> tuple[str, str]:
        """The special tokens that the tokenizer adds before and behind a text."""
        plain = self.tokenizer.encode("x", add_special_tokens=False)
        ids = self.tokenizer.encode("x")
        start = next(i for i in range(len(ids)) if ids[i : i + len(plain)] == plain)
        parts = ids[:start], ids[start + len(plain) :]
        before, after = ("".join(map(str, self.tokenizer.convert_ids_to_tokens(part))) for part in parts)
        return before, after

    def conversation(self, messages: Sequence[Message], learn_all: bool) -> Sample:
        """Return a sample of a question and its answer, of which the answer and the end of text are learned.

        Args:
            messages: that end with the only answer.
            learn_all: the question is learned, too.

        Raises:
            Refused: the messages are others, or as `text`.
        """
        messages = [{key: value for key, value in message.items() if key != "loss_scale"} for message in messages]
        roles = [message["role"] for message in messages]
        if roles.count("assistant") != 1 or roles[-1] != "assistant":
            raise Refused("without a chat template a conversation is one question and its answer")
        if not are_plain(messages):
            raise Refused("without a chat template there is no place for thoughts and tools")
        sample = self.text("".join(message["content"] for message in messages))
        end = len(sample.text)
        answer = (end - len(messages[-1]["content"] + self.around[1]), end)
        return sample._replace(spans=sample.spans if learn_all else [answer], structure=structure(messages, 1))

    def prompt(self, messages: Sequence[Message]) -> Sample:
        """Return a sample of a question to which the answer is yet to be written; nothing is learned.

        Raises:
            Refused: as `conversation`.
        """
        if "assistant" in (message["role"] for message in messages):
            raise Refused("without a chat template a conversation is one question and its answer")
        if not are_plain(list(messages)):
            raise Refused("without a chat template there is no place for thoughts and tools")
        sample = self.text("".join(message["content"] for message in messages))
        text = sample.text.removesuffix(self.around[1])
        return Sample({"text": sample.row["text"], "open": True}, text, [], [], structure(messages, 0))
