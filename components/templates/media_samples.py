"""Samples with media: the text as the processor writes it out, and which of its characters stand for each medium."""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any

from components.errors import DataGateError
from components.media import GoneError, MediaError, MediaProcessor, Medium
from components.templates.chat import ChatTemplate
from components.templates.fitting import SampleTokens
from components.templates.refused import Refused
from components.templates.sample import Sample
from components.templates.shapes import ANSWERS
from components.templates.spans import Span


def expanded(sample: Sample, media: Sequence[Medium], processor: MediaProcessor) -> Sample:
    """Return a sample whose text has as many tokens for each medium as the model sees of it.

    What stands for media becomes spans of weight 0, so that none of it is learned.

    Args:
        sample: with the template's placeholder for each medium.
        media: of the row; a sample that ends earlier has the first of them.

    Raises:
        Refused: a medium cannot be read, or its place in the text cannot be told.
        DataGateError: a medium is not there any more, or has another content than the gate saw.
    """
    own = processor.of_text(sample.text, media)
    try:
        processed = processor(sample.text, own)
    except GoneError as error:
        raise DataGateError(f"template: {error}") from None
    except MediaError as error:
        raise Refused("a medium cannot be used", str(error)) from error
    if processed.spans is None:
        raise Refused(
            "the chat template and the processor do not agree on what stands for a medium",
            f"{len(own)} media in {sample.text[:80]!r}",
        )
    regions = sorted(processed.spans)
    shifted = _shifted(sample, regions, processed.text)
    parts = [*_outside(shifted, regions), *((region, 0.0) for region in regions)]
    parts.sort(key=lambda part: part[0])
    return sample._replace(
        text=processed.text,
        spans=[span for span, _ in parts],
        weights=[weight for _, weight in parts],
        media=list(zip(own, processed.spans, strict=True)),
        expected=processed.ids,
    )


def _shifted(sample: Sample, regions: list[Span], text: str) -> list[tuple[Span, float]]:
    """Return the spans of a sample in the expanded text.

    Raises:
        Refused: a span's text is not where it should be.
    """
    places = _places(sample.text, text, regions)
    spans: list[tuple[Span, float]] = []
    for (start, end), weight in zip(sample.spans, sample.weights, strict=True):
        first, last = places(start), places(end)
        has_medium = any(first < region_end and region_start < last for region_start, region_end in regions)
        if not has_medium and text[first:last] != sample.text[start:end]:
            raise Refused("the processor changes an answer's text")
        spans.append(((first, last), weight))
    return spans


def _places(before: str, after: str, regions: list[Span]) -> Callable[[int], int]:
    """Return a function from an offset in the text before the media were written out to that in the text after.

    The texts outside of the regions are the same in both; the region that an offset lies behind is told by counting
    from the end, where that is possible, else by what stands there.
    """
    gaps = [(0, regions[0][0])] + [(a[1], b[0]) for a, b in pairwise(regions)]
    gaps.append((regions[-1][1], len(after)))
    starts: list[tuple[int, int]] = []
    at = 0
    for n, (start, end) in enumerate(gaps):
        piece = after[start:end]
        at = len(before) - len(piece) if n == len(gaps) - 1 else before.index(piece, at)
        starts.append((at, start))
        at += len(piece)

    def place(offset: int) -> int:
        own, new = max((pair for pair in starts if pair[0] <= offset), default=(0, 0))
        return new + offset - own

    return place


def _outside(spans: list[tuple[Span, float]], regions: list[Span]) -> list[tuple[Span, float]]:
    """Return the spans without what lies in the regions."""
    for low, high in regions:
        spans = [
            (piece, weight)
            for (start, end), weight in spans
            for piece in ((start, min(end, low)), (max(start, high), end))
            if piece[0] < piece[1]
        ]
    return spans


def groups(shape: str, samples: list[Sample], owners: list[int]) -> Iterator[tuple[list[Sample], list[int]]]:
    """Yield the samples, with the row of each, in groups that are made token rows of together: those without media as
    they follow each other, those with media of one token row at a time."""
    of_row = [(owner, [sample for sample, _ in own]) for owner, own in _by_row(samples, owners)]
    for has_media, rows in groupby(of_row, lambda pair: bool(pair[1][0].media)):
        if not has_media:
            pairs = [(sample, owner) for owner, own in rows for sample in own]
            yield [sample for sample, _ in pairs], [owner for _, owner in pairs]
            continue
        for owner, own in rows:
            for group in [own] if shape in ANSWERS else [[sample] for sample in own]:
                yield group, [owner] * len(group)
    if not samples:
        yield [], []


def _by_row(samples: list[Sample], owners: list[int]) -> Iterator[tuple[int, Iterator[tuple[Sample, int]]]]:
    return groupby(zip(samples, owners, strict=True), lambda pair: pair[1])


def placed_media(samples: list[Sample], tokens: SampleTokens, chat: ChatTemplate) -> list[dict[str, Any]]:
    """Return the references of the column `media` for the samples of one token row: those of the first sample, since
    media stand in the prompt that answers share. An empty list where the row is refused."""
    if not tokens.placed:
        return []
    places = tokens.placed[0]
    references: list[dict[str, Any]] = []
    for medium, span in samples[0].media:
        first, end = places[span]
        frames = [{"kind": f.kind, "path": f.path, "sha256": f.sha256} for f in medium.frames]
        reference = {"kind": medium.kind, "path": medium.path, "sha256": medium.sha256, "frames": frames}
        placeholder = chat.prompts.placeholder(medium.kind)
        references.append({**reference, "placeholder": placeholder, "start": first, "length": end - first})
    return references
