"""Token ids to text as they come: no half characters, no stop words."""

from collections.abc import Callable

from components.inference.engine import OnText

UNFINISHED = "\ufffd"


class TextStream:
    """The text of one growing answer.

    Bytes of a character that is not complete yet are held back, and so is an ending that may become a stop word.
    Joined, the pieces given to `emit` are what `close` returns; streaming and not streaming give the same text.

    A piece is the difference of two decodings that begin at the same, already complete token (the method of Hugging
    Face's text-generation-inference), so it is right for byte-level and for SentencePiece vocabularies.
    """

    def __init__(self, decode: Callable[[list[int]], str], stop_words: list[str], emit: OnText | None = None):
        self.decode, self.stop_words, self.emit = decode, stop_words, emit
        self.tokens: list[int] = []
        self.text = ""
        self.stopped = False
        self._start = self._read = 0  # decode from _start; what lies before _read was taken
        self._held = ""

    def push(self, token: int) -> bool:
        """Take one token; True when a stop word is complete."""
        self.tokens.append(token)
        if self.stop_words or self.emit:
            new = self._unread()
            if new and not new.endswith(UNFINISHED):
                self._start, self._read = self._read, len(self.tokens)
                self._take(new)
        return self.stopped

    def close(self) -> str:
        """Let go of what was held back, except half a character, and return the whole text."""
        if not self.stopped:
            self._take(self._unread().rstrip(UNFINISHED))
        if not self.stopped:
            self._give(self._held)
        return self.text

    def _unread(self) -> str:
        taken = self.decode(self.tokens[self._start : self._read]) if self._read else ""
        return self.decode(self.tokens[self._start :])[len(taken) :]

    def _take(self, new: str) -> None:
        text = self._held + new
        found = [at for word in self.stop_words if (at := text.find(word)) >= 0]
        self.stopped = bool(found)
        keep = min(found) if found else len(text) - self._may_become_stop(text)
        self._held = text[keep:]
        self._give(text[:keep])

    def _may_become_stop(self, text: str) -> int:
        """Length of the longest ending of `text` that begins a stop word."""
        return max((n for word in self.stop_words for n in range(1, len(word)) if text.endswith(word[:n])), default=0)

    def _give(self, text: str) -> None:
        self.text += text
        if text and self.emit:
            self.emit(text)
