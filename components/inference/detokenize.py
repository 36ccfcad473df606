"""Incremental detokenization: whole characters only, and never a part of a stop word."""

from collections.abc import Callable
from typing import Any

from tokenizers.decoders import DecodeStream

from components.inference.api import OnText

UNFINISHED = "\ufffd"
"""What a decoder writes for the bytes of an incomplete character."""

Step = Callable[[int], str | None]
"""From the next token of an answer to the text that is whole with it, or None."""


def step_of(tokenizer: Any, skip_special_tokens: bool = True) -> Step | None:
    """Return a function that decodes the tokens of one answer in turn, or None for a tokenizer that is not fast."""
    if (backend := getattr(tokenizer, "backend_tokenizer", None)) is None:
        return None
    stream = DecodeStream(skip_special_tokens=skip_special_tokens)
    return lambda token: stream.step(backend, token)


class TextStream:
    """The text of one growing answer.

    The bytes of an incomplete character are held back, and so is an ending that may become a stop word. The pieces
    given to `emit`, joined, are what `close` returns: streaming does not change the text.

    Without `step`, a piece is the difference of two decodings that begin at the same complete token (the method of
    Hugging Face's text-generation-inference), which is right for byte-level and for SentencePiece vocabularies.
    """

    def __init__(
        self,
        decode: Callable[[list[int]], str],
        stop_words: list[str],
        emit: OnText | None = None,
        step: Step | None = None,
    ):
        self.decode, self.stop_words, self.emit = decode, stop_words, emit
        self.step = step if stop_words or emit else None  # an answer that nobody follows is decoded at its end
        self._longest_prefix = max(map(len, stop_words), default=1) - 1
        self.tokens: list[int] = []
        self.text = ""
        self.stopped = False
        self._context_start = self._decoded_end = 0  # token offsets: where decoding begins, what is in the text already
        self._held = ""

    def push(self, token: int) -> bool:
        """Add one token; return True when a stop word is complete."""
        self.tokens.append(token)
        if self.step:
            if new_text := self.step(token):
                self._add(new_text)
        elif self.stop_words or self.emit:
            new_text = self._new_text()
            if new_text and not new_text.endswith(UNFINISHED):
                self._context_start, self._decoded_end = self._decoded_end, len(self.tokens)
                self._add(new_text)
        return self.stopped

    def close(self) -> str:
        """Emit the text held back, except an incomplete character, and return the whole text."""
        if not self.stopped and not self.step:
            self._add(self._new_text().rstrip(UNFINISHED))
        if not self.stopped:
            self._emit(self._held)
        return self.text

    def _new_text(self) -> str:
        context = self.decode(self.tokens[self._context_start : self._decoded_end]) if self._decoded_end else ""
        return self.decode(self.tokens[self._context_start :])[len(context) :]

    def _add(self, new_text: str) -> None:
        text = self._held + new_text
        stop_offsets = [offset for word in self.stop_words if (offset := text.find(word)) >= 0]
        self.stopped = bool(stop_offsets)
        end = min(stop_offsets) if stop_offsets else len(text) - self._stop_prefix_length(text)
        self._held = text[end:]
        self._emit(text[:end])

    def _stop_prefix_length(self, text: str) -> int:
        """Return the length of the longest ending of `text` that begins a stop word."""
        lengths = range(min(self._longest_prefix, len(text)), 0, -1)
        return next((n for n in lengths if any(word.startswith(text[-n:]) for word in self.stop_words)), 0)

    def _emit(self, text: str) -> None:
        self.text += text
        if text and self.emit:
            self.emit(text)
