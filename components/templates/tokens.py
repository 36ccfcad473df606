"""From rendered text to token ids and labels, checked by decoding them again."""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from components.errors import MartletError
from components.rows import Row
from components.templates.chat import ChatTemplate, Refused, Sample
from components.templates.layout import Span

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

IGNORED = -100
"""The label of a token that is not learned."""
SAMPLED = 4
"""Samples of each structure that are decoded again and compared with `apply_chat_template`."""

Truncation = Literal["delete", "left", "right"]


class Encoded(NamedTuple):
    """One training sample: token ids, and per token its id again or -100 where it is not learned."""

    input_ids: list[int]
    labels: list[int]
    truncated: bool = False


class Encoder:
    """Encodes conversations with one template and tokenizer; `structures` counts the samples of each that it made."""

    def __init__(self, chat: ChatTemplate, max_length: int | None = None, truncation_strategy: Truncation = "delete"):
        self.chat, self.max_length, self.truncation_strategy = chat, max_length, truncation_strategy
        self.structures: Counter[tuple[str, ...]] = Counter()
        self._doubted: set[tuple[str, ...]] = set()
        self._backend = _with_exact_offsets(chat.tokenizer.backend_tokenizer)  # type: ignore[arg-type]

    def __call__(self, rows: Sequence[Row]) -> list[list[Encoded] | Refused]:
        """One entry per row: its samples, or why it is refused. Rows are best given a thousand at a time.

        Raises:
            MartletError: the ids are not those of `apply_chat_template`.
        """
        rendered = [self._samples(row) for row in rows]
        texts = [s.text for samples in rendered if not isinstance(samples, Refused) for s in samples]
        encodings = iter(self._backend.encode_batch(texts, add_special_tokens=False))
        outcomes: list[list[Encoded] | Refused] = []
        for samples in rendered:
            if isinstance(samples, Refused):
                outcomes.append(samples)
                continue
            pairs = [(sample, next(encodings)) for sample in samples]
            try:
                outcomes.append([self._encoded(sample, encoding) for sample, encoding in pairs])
            except Refused as refusal:
                outcomes.append(refusal)
        return outcomes

    def _samples(self, row: Row) -> list[Sample] | Refused:
        try:
            return self.chat.samples(row)
        except Refused as refusal:
            return refusal

    def _encoded(self, sample: Sample, encoding: "Encoding") -> Encoded:
        ids, labels = encoding.ids, [IGNORED] * len(encoding)
        spans = [token_span(encoding, sample.text, span) for span in sample.spans]
        for first, end in spans:
            labels[first:end] = ids[first:end]
        self._verify(sample, ids, spans)
        return self._fit(ids, labels)

    def _verify(self, sample: Sample, ids: list[int], spans: list[Span]) -> None:
        """Decode and compare, for the first samples of each structure, and for all of one that has once failed."""
        self.structures[sample.structure] += 1
        if self.structures[sample.structure] > SAMPLED and sample.structure not in self._doubted:
            return
        tokenizer = self.chat.tokenizer
        expected = sample.reference(tokenizer)
        if ids != expected:
            raise MartletError(
                f"template: the token ids differ from the tokenizer's own apply_chat_template ({len(ids)} and "
                f"{len(expected)} tokens) for {', '.join(sample.structure[:-1])}; "
                "the tokenizer's files do not agree with each other"
            )
        for (first, end), (start, stop) in zip(spans, sample.spans, strict=True):
            decoded = tokenizer.decode(ids[first:end], skip_special_tokens=False, clean_up_tokenization_spaces=False)
            if _plain(str(decoded)) != _plain(sample.text[start:stop]):
                self._doubted.add(sample.structure)
                raise Refused("the learned tokens do not decode to the answer", repr(str(decoded)[:80]))

    def _fit(self, ids: list[int], labels: list[int]) -> Encoded:
        limit = self.max_length
        if limit is None or len(ids) <= limit:
            return Encoded(ids, labels)
        if self.truncation_strategy == "delete":
            raise Refused("longer than max_length", f"{len(ids)} tokens, at most {limit}")
        kept = slice(-limit, None) if self.truncation_strategy == "left" else slice(limit)
        if all(label == IGNORED for label in labels[kept]):
            raise Refused("nothing to learn is left after truncation", f"{len(ids)} tokens, at most {limit}")
        return Encoded(ids[kept], labels[kept], truncated=True)


def encode(
    rows: Sequence[Row],
    chat: ChatTemplate,
    max_length: int | None = None,
    truncation_strategy: Truncation = "delete",
) -> list[list[Encoded] | Refused]:
    """Encode conversations: per row its samples (several where the template needs one per turn), or the refusal."""
    return Encoder(chat, max_length, truncation_strategy)(rows)


def token_span(encoding: "Encoding", text: str, span: Span) -> Span:
    """The tokens [first, end) that are the characters `span` of `text`.

    Raises:
        Refused: a token lies on both sides of one of the ends. Whitespace that an added token swallows behind the
            end tag (`rstrip` in tokenizer.json) is let pass: the token is the tag.
    """
    start, stop = span
    first, last = encoding.char_to_token(start), encoding.char_to_token(stop - 1)
    if first is None or last is None:
        raise Refused("the tokenizer drops a character at an end of the answer", repr(text[start : start + 20]))
    begins, ends = encoding.token_to_chars(first)[0], encoding.token_to_chars(last)[1]  # type: ignore[index]
    if begins != start or text[stop:ends].strip():
        raise Refused("an end of the answer falls inside a token", repr(text[min(begins, start) : start + 20]))
    return first, last + 1


def _with_exact_offsets(tokenizer: "Tokenizer") -> "Tokenizer":
    """A copy without truncation and padding, and without the post-processor, which trims spaces off the offsets."""
    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    copy.post_processor = None  # type: ignore[assignment]
    return copy


def _plain(text: str) -> str:
    """Text without what tokenizers do not keep: compatibility forms, SentencePiece's mark for a space, outer spaces."""
    return unicodedata.normalize("NFKC", text).replace("\u2581", " ").strip()
