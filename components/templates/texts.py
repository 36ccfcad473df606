"""Rows without a template: plain texts, and questions with their answers written as such."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from components.errors import ConfigError
from components.rows import Message
from components.templates.control import any_of, refuse_control
from components.templates.refused import Refused
from components.templates.sample import Sample, structure
from components.templates.slots import is_plain

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Texts:
    """Samples of rows that no template writes, with one tokenizer."""

    def __init__(self, tokenizer: "PreTrainedTokenizerBase") -> None:
        self.tokenizer = tokenizer
        self.special = any_of(token.content for token in tokenizer.added_tokens_decoder.values() if token.special)

    @cached_property
    def ends(self) -> tuple[str, str]:
        """What the tokenizer writes before a text, and its end-of-text token. Raises ConfigError where it has none."""
        end = self.tokenizer.eos_token
        if not end:
            raise ConfigError("the tokenizer has no eos_token, which plain text has to end with")
        around = [str(self.tokenizer.convert_ids_to_tokens(i)) for i in self.tokenizer.encode("")]
        return "".join(token for token in around if token != end), str(end)

    def text(self, text: str) -> Sample:
        """Plain text, all of it learned, with the end of text behind it.

        Raises:
            Refused: it is empty, or holds a special token.
        """
        refuse_control(self.special, [{"role": "text", "content": text}])
        if not text.strip():
            raise Refused("the text is empty")
        begin, end = self.ends
        whole = begin + text + end
        return Sample({"text": text}, whole, [(len(begin), len(whole))], [1.0], ("text", "1"))

    def question(self, messages: Sequence[Message], base: str) -> Sample:
        """A conversation as its texts, one after the other; the answer and the end are learned, or `base` "all".

        Raises:
            Refused: as `text` does; or it is more than a question and its answer.
        """
        said = [{key: value for key, value in message.items() if key != "loss_scale"} for message in messages]
        roles = [message["role"] for message in said]
        if roles.count("assistant") != 1 or roles[-1] != "assistant":
            raise Refused("without a chat template a conversation is one question and its answer")
        if not is_plain(said):
            raise Refused("without a chat template there is no place for thoughts and tools")
        sample = self.text("".join(message["content"] for message in said))
        stop = len(sample.text)
        learned = stop - len(said[-1]["content"] + self.ends[1])
        spans = sample.spans if base == "all" else [(learned, stop)]
        return sample._replace(spans=spans, structure=structure(said, 1))
