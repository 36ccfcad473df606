"""Samples as the columns of a shape of `components.tokens`, none longer than `max_length`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from components.templates.refused import Refused
from components.templates.shapes import ANSWERS
from components.templates.spans import Span
from components.tokens import IGNORED, SHAPES, Ragged

TruncationStrategy = Literal["delete", "left", "right", "split"]


class Limit(NamedTuple):
    """The most tokens of a sequence, None for any number, and what becomes of longer sequences."""

    max_length: int | None
    strategy: TruncationStrategy

    def refusal(self, length: int) -> Refused:
        return Refused("longer than max_length", f"{length} tokens, at most {self.max_length}")


@dataclass
class SampleTokens:
    """The tokens of samples: `ids`, `labels` (int32) and `weights` (float32) of all, one after the other.

    Attributes:
        offsets: sample `i` is `offsets[i]:offsets[i + 1]`.
        owners: the row of each sample.
        refused: the rows that give none, whose samples are to be left out.
        placed: for each sample with media the tokens [first, end) of its spans, counted through all samples.
    """

    ids: np.ndarray
    labels: np.ndarray
    weights: np.ndarray
    offsets: np.ndarray
    owners: np.ndarray
    refused: dict[int, Refused]
    placed: list[dict[Span, Span]] = field(default_factory=list)

    def sample(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the ids and the labels of a sample."""
        part = slice(self.offsets[i], self.offsets[i + 1])
        return self.ids[part], self.labels[part]


@dataclass
class Fit:
    """Columns of token ids and labels, and the row from which each of their rows comes.

    Attributes:
        counts: `truncated`: samples that lost tokens or were split; `cut`: those of them that were cut inside of an
            answer; `emptied`: pieces of split samples with nothing to learn, which are left out.
    """

    columns: dict[str, Ragged]
    owners: list[int]
    counts: Counter[str] = field(default_factory=Counter)


def fit(shape: str, tokens: SampleTokens, limit: Limit) -> Fit:
    """Return the columns of a shape; rows of which nothing is left go to `tokens.refused`."""
    if shape in ("prompt", "classification"):
        return _prompts(tokens, limit, SHAPES[shape][0])
    if shape == "pair":
        return _texts(tokens, limit)
    return _answers(tokens, ANSWERS[shape], limit) if shape in ANSWERS else _sequences(tokens, limit)


def _sequences(tokens: SampleTokens, limit: Limit) -> Fit:
    """Return `input_ids`, `labels` and `loss_scale` of the shapes sft and text."""
    learned = np.concatenate([[0], np.cumsum(tokens.labels != IGNORED)])
    starts, ends = tokens.offsets[:-1], tokens.offsets[1:]
    too_long = ends - starts > (limit.max_length or int((ends - starts).max(initial=0)))
    if not too_long.any() and not tokens.refused and (learned[ends] > learned[starts]).all():
        return Fit(_ragged(tokens, tokens.offsets), tokens.owners.tolist())
    pieces: list[tuple[int, int, int]] = []
    counts: Counter[str] = Counter()
    spans = zip(tokens.owners.tolist(), starts.tolist(), ends.tolist(), too_long.tolist(), strict=True)
    for row, start, end, long in spans:
        if row in tokens.refused:
            continue
        ranges = _ranges(start, end, limit) if long else [(start, end)]
        kept = [(row, first, last) for first, last in ranges if learned[last] > learned[first]]
        if long and kept:
            inner = {edge for piece in ranges for edge in piece} - {start, end}
            cut = any(tokens.labels[edge - 1] != IGNORED and tokens.labels[edge] != IGNORED for edge in inner)
            counts.update(truncated=1, cut=int(cut), emptied=len(ranges) - len(kept))
        elif long:
            reason = "nothing to learn is left after truncation" if ranges else "longer than max_length"
            tokens.refused[row] = Refused(reason, limit.refusal(end - start).detail)
        pieces += kept
    rows_left = {row for row, _, _ in pieces}
    for row in set(tokens.owners.tolist()) - rows_left - tokens.refused.keys():
        tokens.refused[row] = Refused("nothing in it is to be learned")
    return _gathered(tokens, [piece for piece in pieces if piece[0] not in tokens.refused], counts)


def _ranges(start: int, end: int, limit: Limit) -> list[Span]:
    """Return what is kept of the tokens [start, end), which are too many."""
    length = limit.max_length or end - start
    match limit.strategy:
        case "delete":
            return []
        case "left":
            return [(end - length, end)]
        case "right":
            return [(start, start + length)]
        case "split":
            return [(at, min(at + length, end)) for at in range(start, end, length)]


def _gathered(tokens: SampleTokens, pieces: list[tuple[int, int, int]], counts: Counter[str]) -> Fit:
    """Return the columns of pieces `(row, start, end)` of the tokens."""
    owners, starts, ends = np.array(pieces, np.int64).reshape(-1, 3).T
    lengths = ends - starts
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    index = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
    part = SampleTokens(tokens.ids[index], tokens.labels[index], tokens.weights[index], offsets, owners, {})
    return Fit(_ragged(part, offsets), owners.tolist(), counts)


def _ragged(tokens: SampleTokens, offsets: np.ndarray) -> dict[str, Ragged]:
    values = {"input_ids": tokens.ids, "labels": tokens.labels, "loss_scale": tokens.weights}
    return {name: Ragged(value, offsets) for name, value in values.items()}


def _answers(tokens: SampleTokens, names: Sequence[str], limit: Limit) -> Fit:
    """Return `prompt_ids` and each name's `_ids` and `_labels`: what the samples of a row begin with, and the rest."""
    lists: dict[str, list[np.ndarray]] = {"prompt_ids": []}
    lists |= {f"{name}_{kind}": [] for name in names for kind in ("ids", "labels")}
    result = Fit({}, [])
    for first in range(0, len(tokens.owners), len(names)):
        row = int(tokens.owners[first])
        samples = [tokens.sample(first + n) for n in range(len(names))]
        try:
            if row in tokens.refused:
                continue
            prompt = _prompt_length(samples)
            kept = _prompt_kept(prompt, max(len(ids) for ids, _ in samples), limit)
        except Refused as refusal:
            tokens.refused[row] = refusal
            continue
        result.owners.append(row)
        result.counts["truncated"] += kept < prompt
        lists["prompt_ids"].append(samples[0][0][prompt - kept : prompt])
        for name, (ids, labels) in zip(names, samples, strict=True):
            lists[f"{name}_ids"].append(ids[prompt:])
            lists[f"{name}_labels"].append(labels[prompt:])
    result.columns = {name: _concatenated(arrays) for name, arrays in lists.items()}
    return result


def _prompt_length(samples: list[tuple[np.ndarray, np.ndarray]]) -> int:
    """Return how many tokens the samples have in common before the first learned token of any.

    Raises:
        Refused: nothing in a sample is learned, or two samples are the same.
    """
    if not all((labels != IGNORED).any() for _, labels in samples):
        raise Refused("nothing in it is to be learned")
    (ids, _), (other, _) = samples[0], samples[-1]
    if len(samples) > 1 and np.array_equal(ids, other):
        raise Refused("chosen and rejected are the same tokens")
    length = min(int(np.argmax(labels != IGNORED)) for _, labels in samples)
    differences = np.flatnonzero(ids[:length] != other[:length])
    return int(differences[0]) if len(differences) else length


def _prompt_kept(prompt: int, longest: int, limit: Limit) -> int:
    """Return how many tokens of a prompt are kept so that the longest of its sequences is not too long.

    Raises:
        Refused: nothing would be kept, or a sequence is too long and the strategy is `delete`.
    """
    if limit.max_length is None or longest <= limit.max_length:
        return prompt
    if limit.strategy == "delete":
        raise limit.refusal(longest)
    kept = prompt - (longest - limit.max_length)
    if kept <= 0:
        raise Refused(
            "longer than max_length", f"the answer alone is {longest - prompt} tokens, at most {limit.max_length}"
        )
    return kept


def _prompts(tokens: SampleTokens, limit: Limit, name: str) -> Fit:
    """Return the column `name` of whole samples, of which nothing is learned."""
    prompts: list[np.ndarray] = []
    result = Fit({}, [])
    for i, row in enumerate(tokens.owners.tolist()):
        ids, _ = tokens.sample(i)
        length = len(ids) if limit.max_length is None else limit.max_length
        if row in tokens.refused:
            continue
        if not len(ids):
            tokens.refused[row] = Refused("the prompt is empty")
        elif len(ids) > length and limit.strategy == "delete":
            tokens.refused[row] = limit.refusal(len(ids))
        else:
            prompts.append(ids[-length:])
            result.owners.append(row)
            result.counts["truncated"] += len(ids) > length
    result.columns = {name: _concatenated(prompts)}
    return result


def _texts(tokens: SampleTokens, limit: Limit) -> Fit:
    """Return the columns of the shape `pair`: of each row the samples are anchor, positive, and any number of
    negatives."""
    lists: dict[str, list[np.ndarray]] = {name: [] for name in SHAPES["pair"]}
    result = Fit({}, [])
    by_row: dict[int, list[np.ndarray]] = {}
    for i, row in enumerate(tokens.owners.tolist()):
        by_row.setdefault(row, []).append(tokens.sample(i)[0])
    for row, texts in by_row.items():
        longest = max(map(len, texts))
        too_long = limit.max_length is not None and longest > limit.max_length
        if row not in tokens.refused and too_long and limit.strategy == "delete":
            tokens.refused[row] = limit.refusal(longest)
        if row in tokens.refused:
            continue
        anchor, positive, *negatives = [_cut(ids, limit) for ids in texts]
        values = (anchor, positive, np.concatenate([np.zeros(0, np.int32), *negatives]), [*map(len, negatives)])
        for column, value in zip(lists.values(), values, strict=True):
            column.append(np.asarray(value, np.int32))
        result.owners.append(row)
        result.counts["truncated"] += too_long
    result.columns = {name: _concatenated(arrays) for name, arrays in lists.items()}
    return result


def _cut(ids: np.ndarray, limit: Limit) -> np.ndarray:
    """Return what is kept of a text: its beginning (`right`) or its end (`left`)."""
    length = limit.max_length or len(ids)
    return ids[:length] if limit.strategy == "right" else ids[-length:]


def _concatenated(arrays: list[np.ndarray]) -> Ragged:
    offsets = np.cumsum([0, *map(len, arrays)])
    return Ragged(np.concatenate([np.zeros(0, np.int32), *arrays]).astype(np.int32), offsets)
