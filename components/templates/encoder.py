"""From canonical rows to token ids and labels, each place proved by lengths in bytes or by decoding."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from components.errors import MartletError
from components.media import media_of
from components.rows import Row
from components.templates.backend import Backend
from components.templates.chat import ChatTemplate
from components.templates.fitting import Fit, Limit, SampleTokens, TruncationStrategy, fit
from components.templates.media_samples import expanded, groups, placed_media
from components.templates.refused import Refused
from components.templates.sample import Sample
from components.templates.shapes import check_settings, columns_of, margin_of, samples_of, target_of, texts_of
from components.templates.spans import Span, canonical, joined, token_spans
from components.tokens import IGNORED, ShapeName, TokenRows, to_batch

if TYPE_CHECKING:
    import pyarrow as pa
    from tokenizers import Encoding

COMPARED_SAMPLES = 4
"""Samples of each structure whose ids are compared with `apply_chat_template`'s."""


class TokenBatch(NamedTuple):
    """Token rows, and what became of the rows that they come from.

    Attributes:
        tokens: of `components.tokens.schema(shape)`; with `loss_scale` where a weight is neither 0 nor 1.
        owners: for each token row the index of its row.
        refused: the rows that gave none, by index.
        counts: `learnable` tokens, and those of `fitting.Fit`.
    """

    tokens: "pa.RecordBatch"
    owners: list[int]
    refused: dict[int, Refused]
    counts: Counter[str]


def _joined(parts: Sequence[TokenBatch]) -> TokenBatch:
    """Return the token rows of all parts, whose rows and refusals are the same."""
    import pyarrow as pa

    owners = [owner for part in parts for owner in part.owners]
    counts = sum((part.counts for part in parts), Counter[str]())
    return TokenBatch(pa.concat_batches([part.tokens for part in parts]), owners, parts[0].refused, counts)


def _without_plain_weights(tokens: "pa.RecordBatch") -> "pa.RecordBatch":
    """Return token rows without weights, unless one of these is neither 0 nor 1."""
    if "loss_scale" not in tokens.schema.names:
        return tokens
    column: Any = tokens["loss_scale"]
    weights = np.from_dlpack(column.flatten())  # `to_numpy` would import pandas
    return tokens if ((weights != 0) & (weights != 1)).any() else tokens.drop_columns(["loss_scale"])


class Encoder:
    """Makes token rows of one shape from canonical rows.

    Args:
        chat: the template and its tokenizer.
        shape: a key of `components.tokens.SHAPES`.
        max_length: the most tokens of a sequence, or None for any number.
        truncation_strategy: what becomes of longer sequences; shapes other than
            `sft` and `text` know `delete` and `left`, which shortens the prompt.
        fast: fastokens may be used.
        weighted: sft rows have `loss_scale` even where all weights are 0 and 1.
        media: token rows have the column `media`. Rows with media are never cut: longer ones are left out.

    Attributes:
        structures: how many samples of each structure were made.

    Raises:
        ConfigError: the shape cannot be cut as `truncation_strategy` says, or made with the template's loss scale.
    """

    def __init__(
        self,
        chat: ChatTemplate,
        shape: ShapeName = "sft",
        max_length: int | None = None,
        truncation_strategy: TruncationStrategy = "delete",
        fast: bool = True,
        weighted: bool = False,
        media: bool = False,
    ) -> None:
        check_settings(chat, shape, truncation_strategy)
        self.chat, self.shape, self.weighted, self.media = chat, shape, weighted, media
        self.limit = Limit(max_length, truncation_strategy)
        self.backend = Backend(chat.tokenizer, fast)
        self.structures: Counter[tuple[str, ...]] = Counter()

    def distrust(self) -> None:
        """Compare the first samples of each structure with `apply_chat_template` once more."""
        self.structures.clear()

    def __call__(self, rows: Sequence[Row], source: Sequence[str], row: Sequence[int]) -> TokenBatch:
        """Return the token rows of canonical rows, which are best given a thousand at a time.

        Args:
            rows: canonical.
            source: the dataset of each row.
            row: the number of each row in its dataset.

        Raises:
            MartletError: the ids are not those of `apply_chat_template`.
            FastTokenizerDiffersError: as `Backend.encode`.
        """
        samples, owners, refused = self._samples(rows)
        parts = [self._encoded(*group, refused, rows, source, row) for group in groups(self.shape, samples, owners)]
        batch = parts[0] if len(parts) == 1 else _joined(parts)
        return batch if self.weighted else batch._replace(tokens=_without_plain_weights(batch.tokens))

    def _encoded(
        self,
        samples: list[Sample],
        owners: list[int],
        refused: dict[int, Refused],
        rows: Sequence[Row],
        source: Sequence[str],
        row: Sequence[int],
    ) -> TokenBatch:
        """Return the token rows of samples, which have no media, or are those of one token row."""
        tokens = self._tokens(samples, owners, refused)
        media = placed_media(samples, tokens, self.chat) if samples and samples[0].media else []
        fitted = fit(self.shape, tokens, self.limit._replace(strategy="delete") if media else self.limit)
        batch = self._batch(fitted, rows, source, row, [media] * len(fitted.owners))
        labels = [column.values for name, column in fitted.columns.items() if name.endswith("labels")]
        fitted.counts["learnable"] = sum(int((values != IGNORED).sum()) for values in labels)
        return TokenBatch(batch, fitted.owners, refused, fitted.counts)

    def _samples(self, rows: Sequence[Row]) -> tuple[list[Sample], list[int], dict[int, Refused]]:
        """Return the samples of all rows, the row of each sample, and the rows that are refused."""
        samples: list[Sample] = []
        owners: list[int] = []
        refused: dict[int, Refused] = {}
        for n, row in enumerate(rows):
            try:
                of_row = samples_of(self.chat, self.shape, row)
                if media := media_of(row):
                    assert self.chat.media
                    of_row = [expanded(sample, media, self.chat.media) for sample in of_row]
            except Refused as refusal:
                refused[n] = refusal
                continue
            samples += of_row
            owners += [n] * len(of_row)
        return samples, owners, refused

    def _tokens(self, samples: list[Sample], owners: list[int], refused: dict[int, Refused]) -> SampleTokens:
        """Return the ids, labels and weights of samples; adds to `refused` the rows whose labels cannot be proved."""
        texts = [sample.text for sample in samples]
        tokens, encodings = self.backend.encode(texts)
        located = self.backend.locate(texts, tokens, [(i, span) for i, s in enumerate(samples) for span in s.spans])
        remaining = iter(located.tolist())
        spans: list[tuple[int, int, float]] = []
        placed: list[dict[Span, Span]] = []
        offsets = tokens.offsets.tolist()
        for i, sample in enumerate(samples):
            token_rows: list[Span] = [tuple(next(remaining)) for _ in sample.spans]
            ids = tokens.ids[offsets[i] : offsets[i + 1]]
            self._compare(sample, ids)
            if any(first < 0 for first, _ in token_rows):
                try:
                    inside = self._proved_by_decoding(sample, ids, encodings[i] if encodings else None)
                except Refused as refusal:
                    refused.setdefault(owners[i], refusal)
                    continue
                token_rows = [(offsets[i] + first, offsets[i] + end) for first, end in inside]
            placed.append(dict(zip(sample.spans, token_rows, strict=True)) if sample.media else {})
            spans += [(first, end, weight) for (first, end), weight in zip(token_rows, sample.weights, strict=True)]
        weights = _spread(spans, len(tokens.ids))
        labels = np.where(weights > 0, tokens.ids, IGNORED).astype(np.int32)
        return SampleTokens(tokens.ids, labels, weights, tokens.offsets, np.array(owners, np.int64), refused, placed)

    def _compare(self, sample: Sample, ids: np.ndarray) -> None:
        """Raise MartletError if the ids of one of the first samples of a structure are not `apply_chat_template`'s."""
        self.structures[sample.structure] += 1
        if self.structures[sample.structure] > COMPARED_SAMPLES and sample.expected is None:
            return
        expected = sample.reference(self.chat.tokenizer)
        if ids.tolist() != expected:
            raise MartletError(
                f"template: the token ids differ from the tokenizer's own apply_chat_template ({len(ids)} and "
                f"{len(expected)} tokens) for {', '.join(sample.structure[:-1])}; "
                "the tokenizer's files do not agree with each other"
            )

    def _proved_by_decoding(self, sample: Sample, ids: np.ndarray, encoding: "Encoding | None") -> list[Span]:
        """Return the tokens [first, end) of a sample's spans by the offsets of `tokenizers`.

        Raises:
            Refused: an end falls inside of a token, or the tokens do not decode to the text of the spans.
        """
        encoding = encoding or self.backend.compare(sample.text, ids)
        spans = token_spans(encoding, sample.text, sample.spans)
        first_at = dict(zip((start for start, _ in sample.spans), (first for first, _ in spans), strict=True))
        end_at = dict(zip((end for _, end in sample.spans), (end for _, end in spans), strict=True))
        for start, end in joined(sample.spans):
            tokens = ids[first_at[start] : end_at[end]].tolist()
            decoded = self.backend.exact.decode(tokens, skip_special_tokens=False)
            if decoded != (text := sample.text[start:end]) and canonical(decoded) != canonical(text):
                raise Refused("the learned tokens do not decode to the answer", repr(decoded[:80]))
        return spans

    def _batch(
        self,
        fitted: Fit,
        rows: Sequence[Row],
        source: Sequence[str],
        row: Sequence[int],
        media: list[list[dict[str, Any]]],
    ) -> "pa.RecordBatch":
        import orjson

        columns, owners = fitted.columns, fitted.owners
        beside: dict[str, list[str] | list[bool]] = {}
        if self.shape == "label":
            beside["label"] = [rows[n]["label"] for n in owners]
        elif self.shape == "preference":
            beside["margin"] = [orjson.dumps(margin_of(rows[n])).decode() for n in owners]
        elif self.shape == "classification":
            beside["target"] = [orjson.dumps(target_of(rows[n])).decode() for n in owners]
        elif self.shape == "pair":
            beside["score"] = [orjson.dumps(texts_of(rows[n]).score).decode() for n in owners]
        elif self.shape == "prompt":
            own = self.chat.prompts
            prompts = (own.with_system(own.grounded(rows[n], rows[n]["prompt"])) for n in owners)
            beside["prompt"] = [orjson.dumps(prompt).decode() for prompt in prompts]
            beside["extra"] = [orjson.dumps(columns_of(rows[n])).decode() for n in owners]
        sources, numbers = [source[n] for n in owners], [row[n] for n in owners]
        return to_batch(self.shape, columns, sources, numbers, beside, media if self.media else None)


class Encoded(NamedTuple):
    """One sample of sft: token ids, per token the id again or `IGNORED` where it is not learned, and its weight."""

    input_ids: list[int]
    labels: list[int]
    weights: list[float]


def encode(
    rows: Sequence[Row],
    chat: ChatTemplate,
    max_length: int | None = None,
    truncation_strategy: TruncationStrategy = "delete",
) -> list[list[Encoded] | Refused]:
    """Return for each row its samples for sft (several where an answer needs one of its own), or why it has none.

    Arguments and exceptions are those of `Encoder`.
    """
    encoder = Encoder(chat, "sft", max_length, truncation_strategy, weighted=True)
    batch = encoder(rows, [""] * len(rows), range(len(rows)))
    outcomes: list[list[Encoded] | Refused] = [batch.refused.get(n, []) for n in range(len(rows))]
    token_rows = TokenRows(batch.tokens)
    for n, owner in enumerate(batch.owners):
        row = token_rows[n]
        sample = Encoded(*(row[name].tolist() for name in ("input_ids", "labels", "loss_scale")))
        outcomes[owner].append(sample)  # type: ignore[union-attr]
    return outcomes


def _spread(spans: list[tuple[int, int, float]], length: int) -> np.ndarray:
    """Return the weights of `length` tokens: those of the spans `(first, end, weight)`, and 0 elsewhere."""
    weights = np.zeros(length, np.float32)
    if spans:
        first, end, weight = (np.array(column) for column in zip(*spans, strict=True))
        lengths = end - first
        inside = np.repeat(first - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
        weights[inside] = np.repeat(weight, lengths)
    return weights
