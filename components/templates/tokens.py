"""From canonical rows to token ids and labels, each place proved by lengths in bytes or by decoding it again."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from components.errors import MartletError
from components.rows import Row
from components.templates.backend import Backend, Tokens
from components.templates.chat import ChatTemplate, Refused, Sample
from components.templates.render import Span
from components.templates.spans import plain, runs, token_spans

if TYPE_CHECKING:
    from tokenizers import Encoding

IGNORED = -100
"""The label of a token that is not learned."""
SAMPLED = 4
"""Samples of each structure that are compared with `apply_chat_template`."""

Truncation = Literal["delete", "left", "right", "split"]


class Encoded(NamedTuple):
    """One training sample: token ids, per token its id again or -100 where it is not learned, and its weight."""

    input_ids: list[int]
    labels: list[int]
    weights: list[float]


@dataclass
class Samples:
    """The samples of a batch of rows: `ids`, `labels` (int32) and `weights` (float32) of all, one after the other.

    Those of sample `i` are at `offsets[i]:offsets[i + 1]`, and it comes from row `owners[i]`. `refused` are the rows
    that gave none. `truncated` counts the samples that lost tokens or were split, `cut` those of them that were cut
    inside an answer, and `emptied` the pieces of split samples that held nothing to learn.
    """

    ids: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray
    owners: np.ndarray
    refused: dict[int, Refused]
    truncated: int = 0
    cut: int = 0
    emptied: int = 0

    def listed(self, rows: int) -> "list[list[Encoded] | Refused]":
        """For each of the `rows` its samples (several where the template needs one per turn), or why it is refused."""
        found: list[list[Encoded] | Refused] = [self.refused.get(row, []) for row in range(rows)]
        columns = (self.ids.tolist(), self.labels.tolist(), self.weights.tolist())
        for row, start, end in zip(self.owners, self.offsets[:-1], self.offsets[1:], strict=True):
            found[row].append(Encoded(*(column[start:end] for column in columns)))  # type: ignore[union-attr]
        return found


class Encoder:
    """Encodes rows with one template and tokenizer; `structures` counts the samples of each that it made."""

    def __init__(
        self,
        chat: ChatTemplate,
        max_length: int | None = None,
        truncation_strategy: Truncation = "delete",
        fast: bool = True,
    ) -> None:
        self.chat, self.max_length = chat, max_length
        self.truncation_strategy: Truncation = truncation_strategy
        self.structures: Counter[tuple[str, ...]] = Counter()
        self.backend = Backend(chat.tokenizer, fast)

    def distrust(self) -> None:
        """Compare the first samples of each structure with `apply_chat_template` once more."""
        self.structures.clear()

    def __call__(self, rows: Sequence[Row]) -> Samples:
        """The samples of the rows. Rows are best given a thousand at a time.

        Raises:
            MartletError: the ids are not those of `apply_chat_template`.
            FastTokenizerDiffersError: as `Backend.encode`.
        """
        refused: dict[int, Refused] = {}
        owned: list[tuple[int, Sample]] = []
        for row, content in enumerate(rows):
            try:
                owned += [(row, sample) for sample in self.chat.samples(content)]
            except Refused as refusal:
                refused[row] = refusal
        texts = [sample.text for _, sample in owned]
        tokens, encodings = self.backend.encode(texts)
        spans = self._spans(owned, texts, tokens, encodings, refused)
        labels, weights = _labels(owned, tokens, spans)
        whole = Samples(
            tokens.ids, labels, weights, tokens.offsets, np.array([row for row, _ in owned], np.int64), refused
        )
        return self._fitted(whole)

    def _spans(
        self,
        owned: list[tuple[int, Sample]],
        texts: list[str],
        tokens: Tokens,
        encodings: "Sequence[Encoding] | None",
        refused: dict[int, Refused],
    ) -> list[list[Span]]:
        """The learned tokens of each sample, counted through all; rows where they cannot be told are refused."""
        pairs = [(i, span) for i, (_, sample) in enumerate(owned) for span in sample.spans]
        located = iter(self.backend.locate(texts, tokens, pairs).tolist())
        found: list[list[Span]] = []
        for i, (row, sample) in enumerate(owned):
            spans: list[Span] = [tuple(next(located)) for _ in sample.spans]
            first, end = tokens.offsets[i : i + 2].tolist()
            self._compare(sample, tokens.ids[first:end])
            try:
                if any(start < 0 for start, _ in spans):
                    encoding = encodings[i] if encodings else self.backend.compare(sample.text, tokens.ids[first:end])
                    inside = token_spans(encoding, sample.text, sample.spans)
                    spans = [(first + start, first + stop) for start, stop in inside]
                    self._decode(sample, tokens.ids, spans)
            except Refused as refusal:
                refused.setdefault(row, refusal)
            found.append(spans)
        return found

    def _compare(self, sample: Sample, ids: np.ndarray) -> None:
        """Compare the ids with `apply_chat_template`'s, for the first samples of each structure."""
        self.structures[sample.structure] += 1
        if self.structures[sample.structure] > SAMPLED:
            return
        found, expected = ids.tolist(), sample.reference(self.chat.tokenizer)
        if found != expected:
            raise MartletError(
                f"template: the token ids differ from the tokenizer's own apply_chat_template ({len(found)} and "
                f"{len(expected)} tokens) for {', '.join(sample.structure[:-1])}; "
                "the tokenizer's files do not agree with each other"
            )

    def _decode(self, sample: Sample, ids: np.ndarray, spans: list[Span]) -> None:
        """Raises Refused where tokens whose place the lengths in bytes do not prove are not the answer's."""
        tokens_of = dict(zip((start for start, _ in sample.spans), (first for first, _ in spans), strict=True))
        ends_of = dict(zip((stop for _, stop in sample.spans), (end for _, end in spans), strict=True))
        for start, stop in runs(sample.spans):
            first, end = tokens_of[start], ends_of[stop]
            decoded = self.backend.exact.decode(ids[first:end].tolist(), skip_special_tokens=False)
            if decoded != (own := sample.text[start:stop]) and plain(decoded) != plain(own):
                raise Refused("the learned tokens do not decode to the answer", repr(decoded[:80]))

    def _fitted(self, whole: Samples) -> Samples:
        """The samples without those of refused rows, none longer than max_length."""
        learned = np.concatenate([[0], np.cumsum(whole.labels != IGNORED)])
        starts, ends = whole.offsets[:-1], whole.offsets[1:]
        limit = self.max_length or int((ends - starts).max(initial=0))
        long = set(np.flatnonzero(ends - starts > limit).tolist())
        if not long and not whole.refused and (learned[ends] > learned[starts]).all():
            return whole
        pieces: list[tuple[int, int, int]] = []
        for i, (row, start, end) in enumerate(zip(whole.owners.tolist(), starts.tolist(), ends.tolist(), strict=True)):
            if row in whole.refused:
                continue
            if i not in long:
                pieces += [(row, start, end)] if learned[end] > learned[start] else []
                continue
            ranges = self._ranges(start, end, limit)
            kept = [(row, *piece) for piece in ranges if learned[piece[1]] > learned[piece[0]]]
            whole.emptied += (len(ranges) - len(kept)) if kept else 0
            whole.truncated += bool(kept)
            inner = {edge for piece in ranges for edge in piece} - {start, end}
            whole.cut += any(whole.labels[edge - 1] != IGNORED and whole.labels[edge] != IGNORED for edge in inner)
            if not kept:
                what = "longer than max_length" if not ranges else "nothing to learn is left after truncation"
                whole.refused[row] = Refused(what, f"{end - start} tokens, at most {limit}")
            pieces += kept
        given = {row for row, _, _ in pieces}
        for row in set(whole.owners.tolist()) - given - whole.refused.keys():
            whole.refused[row] = Refused("nothing in it is to be learned")
        return _gathered(whole, [piece for piece in pieces if piece[0] not in whole.refused])

    def _ranges(self, start: int, end: int, limit: int) -> list[Span]:
        """What is kept of the tokens [start, end)."""
        match self.truncation_strategy:
            case "delete":
                return []
            case "left":
                return [(end - limit, end)]
            case "right":
                return [(start, start + limit)]
            case "split":
                return [(at, min(at + limit, end)) for at in range(start, end, limit)]


def encode(
    rows: Sequence[Row],
    chat: ChatTemplate,
    max_length: int | None = None,
    truncation_strategy: Truncation = "delete",
) -> list[list[Encoded] | Refused]:
    """Encode rows, without max_length at their full length; as `Encoder` and `Samples.listed`."""
    return Encoder(chat, max_length, truncation_strategy)(rows).listed(len(rows))


def _labels(owned: list[tuple[int, Sample]], tokens: Tokens, spans: list[list[Span]]) -> tuple[np.ndarray, np.ndarray]:
    """Labels and weights of all tokens; a span of weight 0 is not learned."""
    weights = np.zeros(len(tokens.ids), np.float32)
    pairs = [
        (first, end, weight)
        for (_, sample), found in zip(owned, spans, strict=True)
        for (first, end), weight in zip(found, sample.weights, strict=True)
        if first >= 0
    ]
    if pairs:
        first, end, weight = (np.array(column) for column in zip(*pairs, strict=True))
        lengths = end - first
        inside = np.repeat(first - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
        weights[inside] = np.repeat(weight, lengths)
    return np.where(weights > 0, tokens.ids, IGNORED).astype(np.int32), weights


def _gathered(whole: Samples, pieces: list[tuple[int, int, int]]) -> Samples:
    """The tokens of some pieces `(row, start, end)`."""
    owners, starts, ends = (
        (np.array(column, np.int64) for column in zip(*pieces, strict=True)) if pieces else [np.zeros(0, np.int64)] * 3
    )
    lengths = ends - starts
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    index = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    whole.ids, whole.labels, whole.weights = whole.ids[index], whole.labels[index], whole.weights[index]
    whole.offsets, whole.owners = offsets, owners
    return whole
