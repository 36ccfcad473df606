"""Which characters of a text that a processor has written out stand for each medium."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from components.media.kinds import Medium

Spans = list[tuple[int, int]]


def media_spans(
    text: str, output: Any, whole: str, media: Sequence[Medium], tokens: Callable[[str], Sequence[str]]
) -> Spans | None:
    """Return the characters [start, end) of a text with its media written out that stand for each medium, None where
    that cannot be told: as the processor says it, or by what of the text before stands round them.

    Args:
        text: with one placeholder for each medium.
        output: of the processor.
        whole: `text` with the media written out.
        media: of each kind in the order of the placeholders.
        tokens: those that may stand for a medium of a kind in `text`.
    """
    replacements = (output.get("text_replacement_offsets") or [[]])[0]
    if len(replacements) == len(media):
        return _in_order([(r["type"], tuple(r["new_span"])) for r in replacements], media)
    kinds: dict[str, str] = {}
    for kind in dict.fromkeys(medium.kind for medium in media):
        count = sum(medium.kind == kind for medium in media)
        token = next((token for token in tokens(kind) if text.count(token) == count), None)
        if token is None:
            return None
        kinds[token] = kind
    pattern = "|".join(map(re.escape, kinds))
    spans = _between(re.split(pattern, text), whole)
    if spans is None:
        return None
    return _in_order(list(zip((kinds[token] for token in re.findall(pattern, text)), spans, strict=True)), media)


def _in_order(spans: list[tuple[str, tuple[int, int]]], media: Sequence[Medium]) -> Spans | None:
    """Return spans with their kinds, in the text's order, in the order of the media."""
    by_kind = {medium.kind: iter([span for kind, span in spans if kind == medium.kind]) for medium in media}
    ordered = [next(by_kind[medium.kind], None) for medium in media]
    return None if None in ordered else ordered  # type: ignore[return-value]


def _between(pieces: list[str], whole: str) -> Spans | None:
    """Return what stands in `whole` between the pieces of a text, [start, end) each; None where a piece is not there.

    Pieces at the ends may have lost their inner edge to what replaced their neighbour, which took the tokens round a
    placeholder along. Nothing tells where one of two adjacent media ends: all but the last then have one character.
    """
    spans: list[tuple[int, int]] = []
    end = _common(pieces[0], whole)
    for piece in pieces[1:-1]:
        start = whole.find(piece, end + 1)
        if start < 0:
            return None
        spans.append((end, start))
        end = start + len(piece)
    last = len(whole) - _common(pieces[-1][::-1], whole[::-1])
    return [*spans, (end, last)] if last > end else None


def _common(text: str, other: str) -> int:
    """Return how many characters two texts begin with in common."""
    length = min(len(text), len(other))
    return next((i for i in range(length) if text[i] != other[i]), length)
