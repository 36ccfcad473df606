"""Token ids of many texts at once, and which tokens a span of characters is.

`fastokens` encodes an order of magnitude faster than `tokenizers`, and is taken where it can be: for byte-level BPE,
whose tokens are as many bytes long as their entry in the vocabulary has characters, so that no offsets are needed. It
is never trusted: a sample of the texts is encoded with both, and it goes at the first id that differs.
"""

import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from components.templates.render import Span
from components.templates.spans import is_blank

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer
    from transformers import PreTrainedTokenizerBase

COMPARED = 64
"""One text in so many is encoded with both, besides the first ones with each block of characters."""
_BLOCK = 7
"""Bits of a code point below its block: 128 characters."""


class FastTokenizerDiffersError(Exception):
    """fastokens gave other ids than `tokenizers`: what it has encoded in this run is not to be used."""


class Tokens(NamedTuple):
    """Ids of all texts, one after the other (int32); those of text `i` are `ids[offsets[i]:offsets[i + 1]]` (int64)."""

    ids: np.ndarray
    offsets: np.ndarray


class Backend:
    """A tokenizer's own backend, and the fast one beside it while they agree.

    Args:
        fast: whether fastokens may be used.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", fast: bool = True) -> None:
        self.exact = _with_exact_offsets(tokenizer.backend_tokenizer)  # type: ignore[arg-type]
        self.widths = _byte_widths(self.exact)
        self.leaves = _unchanged_by(self.exact.normalizer)
        self.fast = _fastokens(self.exact) if fast and self.widths is not None else None
        self._seen = np.zeros((0x110000 >> _BLOCK) + 1, bool)

    @property
    def name(self) -> str:
        """The library that encodes."""
        return "fastokens" if self.fast else "tokenizers"

    def encode(self, texts: Sequence[str]) -> tuple[Tokens, "Sequence[Encoding] | None"]:
        """The ids of the texts, as the tokenizer's own backend gives them, and its encodings where it was asked.

        Raises:
            FastTokenizerDiffersError: a text that was encoded with both got different ids.
        """
        if self.fast is None:
            encodings = self.exact.encode_batch(list(texts), add_special_tokens=False)
            return _flat([encoding.ids for encoding in encodings]), encodings
        ids, offsets = self.fast.encode_batch_flat(list(texts), add_special_tokens=False)
        tokens = Tokens(np.frombuffer(ids, np.uint32).astype(np.int32), np.frombuffer(offsets, np.uint64).astype(int))
        for i in self._chosen(texts):
            self.compare(texts[i], tokens.ids[tokens.offsets[i] : tokens.offsets[i + 1]])
        return tokens, None

    def compare(self, text: str, ids: np.ndarray) -> "Encoding":
        """Encode `text` with `tokenizers` and return that.

        Raises:
            FastTokenizerDiffersError: the ids are not `ids`.
        """
        encoding = self.exact.encode(text, add_special_tokens=False)
        if not np.array_equal(encoding.ids, ids):
            raise FastTokenizerDiffersError
        return encoding

    def _chosen(self, texts: Sequence[str]) -> set[int]:
        """Every 64th text, and each that brings characters of a block which no text had before."""
        lengths = np.cumsum([len(text) for text in texts])
        blocks = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32) >> _BLOCK
        present = np.bincount(blocks, minlength=len(self._seen)).astype(bool)
        new = np.flatnonzero(present & ~self._seen)
        self._seen |= present
        firsts = (int(np.argmax(blocks == block)) for block in new)
        return {*range(0, len(texts), COMPARED), *(int(np.searchsorted(lengths, at, "right")) for at in firsts)}

    def locate(self, texts: Sequence[str], tokens: Tokens, spans: Sequence[tuple[int, Span]]) -> np.ndarray:
        """The tokens of each span `(text, (start, stop))`: an array of [first, end), counted through all texts.

        Of spans that touch, a token over their border belongs to the one that it begins in. Where the first token
        begins before its span and is whitespace in it, the span begins with the next. A row of -1 where the lengths
        in bytes do not prove the place, because the tokenizer is no byte-level one, changes the text, or has a token
        across an outer end of the span; `token_spans` may know more.
        """
        found = np.full((len(spans), 2), -1)
        if self.widths is None or not spans:
            return found
        ends = np.concatenate([[0], np.cumsum(self.widths[tokens.ids])])
        bases = ends[tokens.offsets]
        ascii_only = [text.isascii() for text in texts]
        sizes = [len(t) if plain else len(t.encode()) for t, plain in zip(texts, ascii_only, strict=True)]
        whole = np.diff(bases) == sizes
        if self.leaves:
            whole &= [self.leaves(text) for text in texts]
        owners = np.array([i for i, _ in spans])
        points = np.array([s if ascii_only[i] else _in_bytes(texts[i], s) for i, s in spans]) + bases[owners][:, None]
        at = np.searchsorted(ends, points)
        borders = ends[np.minimum(at, len(ends) - 1)]
        exact = borders == points
        touching = (points[:-1, 1] == points[1:, 0]) & (owners[:-1] == owners[1:])
        exact[:-1, 1] |= touching
        exact[1:, 0] |= touching
        for n in np.flatnonzero(~exact[:, 0]):
            i, (start, stop) = spans[int(n)]
            exact[n, 0] = is_blank(texts[i], start, start + int(borders[n, 0] - points[n, 0]), stop)
        certain = exact.all(axis=1) & whole[owners]
        found[certain] = at[certain]
        return found


def _in_bytes(text: str, span: Span) -> Span:
    start, stop = span
    begin = len(text[:start].encode())
    return begin, begin + len(text[start:stop].encode())


def _flat(ids: Sequence[Sequence[int]]) -> Tokens:
    offsets = np.cumsum([0, *map(len, ids)])
    return Tokens(np.concatenate([np.asarray(i, np.int32) for i in ids] or [np.zeros(0, np.int32)]), offsets)


def _with_exact_offsets(tokenizer: "Tokenizer") -> "Tokenizer":
    """A copy without truncation and padding, and without the post-processor, which trims spaces off the offsets."""
    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    copy.post_processor = None  # type: ignore[assignment]
    return copy


def _unchanged_by(normalizer: Any) -> Callable[[str], bool] | None:
    """Whether a normalizer leaves a text as it is; None where there is no normalizer."""
    if normalizer is None:
        return None
    form = type(normalizer).__name__
    if form in ("NFC", "NFD", "NFKC", "NFKD"):  # Python knows at a look
        return lambda text: unicodedata.is_normalized(form, text)
    return lambda text: normalizer.normalize_str(text) == text


def _byte_widths(tokenizer: "Tokenizer") -> np.ndarray | None:
    """The length in bytes of every token, by id; None where tokens are not made of bytes.

    Without spaces put in front, nothing adds to a text that its normalizer leaves alone: tokens as long as the text in
    all are the text.
    """
    if type(tokenizer.decoder).__name__ != "ByteLevel" or "BPE" not in type(tokenizer.model).__name__:
        return None
    if "add_prefix_space=True" in repr(tokenizer.pre_tokenizer):
        return None
    widths = {i: len(entry) for entry, i in tokenizer.get_vocab(with_added_tokens=False).items()}
    widths |= {i: len(token.content.encode()) for i, token in tokenizer.get_added_tokens_decoder().items()}
    table = np.zeros(max(widths) + 1, np.int64)
    table[list(widths)] = list(widths.values())
    return table


def _fastokens(tokenizer: "Tokenizer") -> Any:
    """The same tokenizer in fastokens; None where it does not know one of its parts."""
    import fastokens

    try:
        return fastokens.Tokenizer.from_json_str(tokenizer.to_str())
    except Exception:  # what it lacks it says in exceptions of many kinds; the tokenizer's own backend serves
        return None
