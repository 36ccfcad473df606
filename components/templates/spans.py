"""Which tokens a span of characters is, by the offsets that `tokenizers` gives, and whether they are its text."""

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.templates.refused import Refused
from components.templates.render import Span

if TYPE_CHECKING:
    from tokenizers import Encoding


def runs(spans: Sequence[Span]) -> list[Span]:
    """Spans that touch, each row of them as one."""
    joined: list[Span] = []
    for start, stop in spans:
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], stop)
        else:
            joined.append((start, stop))
    return joined


def token_spans(encoding: "Encoding", text: str, spans: Sequence[Span]) -> list[Span]:
    """The tokens [first, end) of each span of characters, by the offsets that `tokenizers` gives.

    Raises:
        Refused: a token lies on both sides of an outer end. Whitespace that an added token swallows behind the end
            tag (`rstrip` in tokenizer.json) is let pass: the token is the tag. So is whitespace that one token has
            in common with what stands before the span, which begins with the next token then.
    """
    borders: dict[int, int] = {}
    for start, stop in runs(spans):
        borders[start], borders[stop] = _outer(encoding, text, start, stop)
    for start, _ in spans:
        if start not in borders:  # a token over an inner border belongs to the span that it begins in
            token = encoding.char_to_token(start)
            if token is None:
                raise Refused("the tokenizer drops a character of the answer", repr(text[start : start + 20]))
            borders[start] = token + (encoding.token_to_chars(token)[0] < start)  # type: ignore[index]
    return [(borders[start], borders[stop]) for start, stop in spans]


def _outer(encoding: "Encoding", text: str, start: int, stop: int) -> Span:
    first, last = encoding.char_to_token(start), encoding.char_to_token(stop - 1)
    if first is None or last is None:
        raise Refused("the tokenizer drops a character at an end of the answer", repr(text[start : start + 20]))
    while last + 1 < len(encoding) and (encoding.token_to_chars(last + 1) or (stop, stop))[0] < stop:
        last += 1  # one character may take several tokens
    begins, border = encoding.token_to_chars(first)  # type: ignore[misc]
    if begins < start and is_blank(text, start, border, stop):
        first, begins = first + 1, start
    ends: int = encoding.token_to_chars(last)[1]  # type: ignore[index]
    if begins != start or text[stop:ends].strip():
        raise Refused("an end of the answer falls inside a token", repr(text[min(begins, start) : start + 20]))
    return first, last + 1


def is_blank(text: str, start: int, border: int, stop: int) -> bool:
    """Whether the first characters of a span, up to a border within it, are whitespace of one byte each."""
    head = text[start:border]
    return border < stop and head.isspace() and head.isascii()


def plain(text: str) -> str:
    """Text without what tokenizers do not keep: compatibility forms, whitespace and SentencePiece's mark for it."""
    return "".join(unicodedata.normalize("NFKC", text).replace("\u2581", " ").split())
