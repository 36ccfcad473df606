"""Token ids of many texts, and which tokens a span of characters is.

fastokens encodes an order of magnitude faster than `tokenizers`, but gives no offsets. It is used for byte-level BPE,
whose tokens have as many bytes as their entry in the vocabulary has characters. It is never trusted: a part of the
texts is encoded by both libraries, and the first id that differs ends its use.
"""

import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from components.templates.spans import Span, begins_with_whitespace

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer
    from transformers import PreTrainedTokenizerBase

COMPARED_EVERY = 64
"""One text in so many is encoded with both libraries, besides the first texts with characters of a new block."""
_BLOCK_BITS = 7
"""Bits of a code point that count within a block of 128 characters."""


class FastTokenizerDiffersError(Exception):
    """fastokens gave other ids than `tokenizers`: nothing that it encoded in this run is to be used."""


class Tokens(NamedTuple):
    """Ids of texts, one after the other (int32); those of text `i` are `ids[offsets[i]:offsets[i + 1]]` (int64)."""

    ids: np.ndarray
    offsets: np.ndarray


class Backend:
    """A tokenizer's own backend, and fastokens beside it while the two agree.

    Args:
        tokenizer: with a `tokenizers` backend.
        fast: fastokens may be used.

    Attributes:
        exact: the tokenizer's own backend, without truncation, padding and post-processor.
    """

    def __init__(self, tokenizer: "PreTrainedTokenizerBase", fast: bool = True) -> None:
        self.exact = _with_exact_offsets(tokenizer.backend_tokenizer)  # type: ignore[arg-type]
        self._token_bytes = _token_bytes(self.exact)
        self._is_normal = _is_normal(self.exact.normalizer)
        self._fast = fast_tokenizer(self.exact) if fast and self._token_bytes is not None else None
        self._blocks_so_far = np.zeros((0x110000 >> _BLOCK_BITS) + 1, bool)

    @property
    def name(self) -> str:
        """The library that encodes."""
        return "fastokens" if self._fast else "tokenizers"

    def encode(self, texts: Sequence[str]) -> tuple[Tokens, "Sequence[Encoding] | None"]:
        """Return the ids of the texts, and the encodings of `tokenizers` unless fastokens encoded.

        Raises:
            FastTokenizerDiffersError: a text that both libraries encoded has different ids.
        """
        if self._fast is None:
            encodings = self.exact.encode_batch(list(texts), add_special_tokens=False)
            return _flat([encoding.ids for encoding in encodings]), encodings
        ids, offsets = self._fast.encode_batch_flat(list(texts), add_special_tokens=False)
        tokens = Tokens(np.frombuffer(ids, np.uint32).astype(np.int32), np.frombuffer(offsets, np.uint64).astype(int))
        for i in self._to_compare(texts):
            self.compare(texts[i], tokens.ids[tokens.offsets[i] : tokens.offsets[i + 1]])
        return tokens, None

    def compare(self, text: str, ids: np.ndarray) -> "Encoding":
        """Return the encoding of `text` by `tokenizers`.

        Raises:
            FastTokenizerDiffersError: its ids are not `ids`.
        """
        encoding = self.exact.encode(text, add_special_tokens=False)
        if not np.array_equal(encoding.ids, ids):
            raise FastTokenizerDiffersError
        return encoding

    def _to_compare(self, texts: Sequence[str]) -> set[int]:
        """Return every 64th text, and each that is the first with a character of some block."""
        ends = np.cumsum([len(text) for text in texts])
        blocks = np.frombuffer("".join(texts).encode("utf-32-le"), np.uint32) >> _BLOCK_BITS
        present = np.bincount(blocks, minlength=len(self._blocks_so_far)).astype(bool)
        new_blocks = np.flatnonzero(present & ~self._blocks_so_far)
        self._blocks_so_far |= present
        firsts = (int(np.argmax(blocks == block)) for block in new_blocks)
        return {*range(0, len(texts), COMPARED_EVERY), *(int(np.searchsorted(ends, at, "right")) for at in firsts)}

    def locate(self, texts: Sequence[str], tokens: Tokens, spans: Sequence[tuple[int, Span]]) -> np.ndarray:
        """Return the tokens [first, end) of each span `(text, (start, end))`, counted through all texts [spans, 2].

        A token crossing two adjacent spans is assigned to the span containing its first byte. Where the first token
        of a span begins before the span and is whitespace within it, the span begins with the next token. A row is -1
        where lengths in bytes do not prove the place, because the tokens are not made of bytes, the tokenizer changes
        the text, or a token crosses an outer end of the span; `token_spans` may prove more.
        """
        located = np.full((len(spans), 2), -1)
        if self._token_bytes is None or not spans:
            return located
        token_ends = np.concatenate([[0], np.cumsum(self._token_bytes[tokens.ids])])
        text_starts = token_ends[tokens.offsets]
        is_ascii = [text.isascii() for text in texts]
        sizes = [len(text) if plain else len(text.encode()) for text, plain in zip(texts, is_ascii, strict=True)]
        unchanged = np.diff(text_starts) == sizes
        if self._is_normal:
            unchanged &= [self._is_normal(text) for text in texts]
        owners = np.array([i for i, _ in spans])
        edges = np.array([span if is_ascii[i] else _in_bytes(texts[i], span) for i, span in spans])
        edges += text_starts[owners][:, None]
        token_at = np.searchsorted(token_ends, edges)
        borders = token_ends[np.minimum(token_at, len(token_ends) - 1)]
        proved = borders == edges
        adjacent = (edges[:-1, 1] == edges[1:, 0]) & (owners[:-1] == owners[1:])
        proved[:-1, 1] |= adjacent
        proved[1:, 0] |= adjacent
        for n in np.flatnonzero(~proved[:, 0]):
            i, (start, end) = spans[int(n)]
            border = start + int(borders[n, 0] - edges[n, 0])
            proved[n, 0] = begins_with_whitespace(texts[i], start, border, end)
        certain = proved.all(axis=1) & unchanged[owners]
        located[certain] = token_at[certain]
        return located


def _in_bytes(text: str, span: Span) -> Span:
    """Return a span of characters as a span of bytes."""
    start, end = span
    first = len(text[:start].encode())
    return first, first + len(text[start:end].encode())


def _flat(ids: Sequence[Sequence[int]]) -> Tokens:
    """Return lists of ids as one array."""
    offsets = np.cumsum([0, *map(len, ids)])
    return Tokens(np.concatenate([np.asarray(i, np.int32) for i in ids] or [np.zeros(0, np.int32)]), offsets)


def _with_exact_offsets(tokenizer: "Tokenizer") -> "Tokenizer":
    """Return a copy without truncation, padding and the post-processor, which trims spaces off the offsets."""
    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    copy.post_processor = None  # type: ignore[assignment]
    return copy


def _is_normal(normalizer: Any) -> Callable[[str], bool] | None:
    """Return a function that tells whether a normalizer leaves a text as it is, or None without a normalizer."""
    if normalizer is None:
        return None
    form = type(normalizer).__name__
    if form in ("NFC", "NFD", "NFKC", "NFKD"):  # Python knows at a look
        return lambda text: unicodedata.is_normalized(form, text)
    return lambda text: normalizer.normalize_str(text) == text


def _token_bytes(tokenizer: "Tokenizer") -> np.ndarray | None:
    """Return the length in bytes of every token by id, or None if tokens are not made of bytes.

    A byte-level tokenizer that puts no space in front adds nothing to a text that its normalizer leaves as it is:
    tokens that are together as long as the text are the text.
    """
    if type(tokenizer.decoder).__name__ != "ByteLevel" or "BPE" not in type(tokenizer.model).__name__:
        return None
    if "add_prefix_space=True" in repr(tokenizer.pre_tokenizer):
        return None
    sizes = {i: len(entry) for entry, i in tokenizer.get_vocab(with_added_tokens=False).items()}
    sizes |= {i: len(token.content.encode()) for i, token in tokenizer.get_added_tokens_decoder().items()}
    table = np.zeros(max(sizes) + 1, np.int64)
    table[list(sizes)] = list(sizes.values())
    return table


def fast_tokenizer(tokenizer: "Tokenizer") -> Any:
    """Return the same tokenizer in fastokens, or None if fastokens lacks one of its parts."""
    import fastokens

    try:
        return fastokens.Tokenizer.from_json_str(tokenizer.to_str())
    except Exception:  # for what it lacks fastokens raises exceptions of many kinds
        return None
