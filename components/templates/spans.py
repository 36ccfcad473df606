"""Spans of characters, and which tokens they are by the offsets that `tokenizers` gives."""

import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.templates.refused import Refused

if TYPE_CHECKING:
    from tokenizers import Encoding

Span = tuple[int, int]
"""[start, end): characters of a text, or tokens of a list."""


def joined(spans: Sequence[Span]) -> list[Span]:
    """Return the spans with adjacent ones joined into one."""
    runs: list[Span] = []
    for start, end in spans:
        if runs and runs[-1][1] == start:
            runs[-1] = (runs[-1][0], end)
        else:
            runs.append((start, end))
    return runs


def token_spans(encoding: "Encoding", text: str, spans: Sequence[Span]) -> list[Span]:
    """Return the tokens [first, end) of each span of characters, by the offsets of an encoding.

    A token crossing two adjacent spans is assigned to the span containing its first byte. Where an added token swallows
    whitespace behind the end tag (`rstrip` in tokenizer.json), the token is the tag. Where the first token of a span
    begins before the span and is whitespace within it, the span begins with the next token.

    Raises:
        Refused: another token lies on both sides of an outer end of a span.
    """
    token_at: dict[int, int] = {}
    for start, end in joined(spans):
        token_at[start], token_at[end] = _outer_tokens(encoding, text, start, end)
    for start, _ in spans:
        if start not in token_at:
            token = encoding.char_to_token(start)
            if token is None:
                raise Refused("the tokenizer drops a character of the answer", repr(text[start : start + 20]))
            token_at[start] = token + (encoding.token_to_chars(token)[0] < start)  # type: ignore[index]
    return [(token_at[start], token_at[end]) for start, end in spans]


def _outer_tokens(encoding: "Encoding", text: str, start: int, end: int) -> Span:
    """Return the tokens [first, end) of one span that no other touches."""
    first, last = encoding.char_to_token(start), encoding.char_to_token(end - 1)
    if first is None or last is None:
        raise Refused("the tokenizer drops a character at an end of the answer", repr(text[start : start + 20]))
    while last + 1 < len(encoding) and (encoding.token_to_chars(last + 1) or (end, end))[0] < end:
        last += 1  # one character may take several tokens
    first_start, first_end = encoding.token_to_chars(first)  # type: ignore[misc]
    if first_start < start and begins_with_whitespace(text, start, first_end, end):
        first, first_start = first + 1, start
    last_end: int = encoding.token_to_chars(last)[1]  # type: ignore[index]
    if first_start != start or text[end:last_end].strip():
        raise Refused("an end of the answer falls inside a token", repr(text[min(first_start, start) : start + 20]))
    return first, last + 1


def begins_with_whitespace(text: str, start: int, border: int, end: int) -> bool:
    """Return whether the characters [start, border) of the span [start, end) are whitespace of one byte each."""
    head = text[start:border]
    return border < end and head.isspace() and head.isascii()


def canonical(text: str) -> str:
    """Return the text without what tokenizers do not keep: compatibility forms, whitespace, SentencePiece's `▁`."""
    return "".join(unicodedata.normalize("NFKC", text).replace("\u2581", " ").split())


def weighted_spans(start: int, parts: Sequence[tuple[str, float]]) -> list[tuple[Span, float]]:
    """Return the spans of texts that follow one another from `start`, with adjacent spans of one weight joined."""
    spans: list[tuple[Span, float]] = []
    for text, weight in parts:
        end = start + len(text)
        if spans and spans[-1][1] == weight:
            spans[-1] = ((spans[-1][0][0], end), weight)
        elif text:
            spans.append(((start, end), weight))
        start = end
    return spans


def with_gaps(text: str, spans: Sequence[tuple[Span, float]]) -> list[tuple[Span, float]]:
    """Return spans that cover the text: the given ones with their weights, and what lies between with weight 1."""
    parts: list[tuple[str, float]] = []
    position = 0
    for (start, end), weight in spans:
        parts += ((text[position:start], 1.0), (text[start:end], weight))
        position = end
    return weighted_spans(0, [*parts, (text[position:], 1.0)])
