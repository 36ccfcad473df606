"""The row is in one of the languages asked for, as far as its script and its commonest words tell.

Scripts are counted by the first two bytes of each character in UTF-8, and the commonest words tell the languages in
Latin letters apart. That is a guess, good for a distribution and for rows in a wholly other language.
"""

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from components.data.checks import Batch, Context, Failure

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

NAMES = (
    "unknown",
    "zh",
    "ja",
    "ko",
    "ru",
    "ar",
    "he",
    "el",
    "hi",
    "th",
    "other script",
    "en",
    "de",
    "fr",
    "es",
    "it",
    "pt",
    "nl",
    "latin",
)
"""What is guessed, in ISO 639-1: `ru` stands for all in Cyrillic, `latin` for what no word tells."""
SCRIPTS = {
    "zh": [(0x3400, 0x9FFF), (0xF900, 0xFAFF)],
    "ja": [(0x3040, 0x30FF)],
    "ko": [(0x1100, 0x11FF), (0xAC00, 0xD7A3)],
    "ru": [(0x0400, 0x052F)],
    "ar": [(0x0600, 0x077F)],
    "he": [(0x0580, 0x05FF)],
    "el": [(0x0380, 0x03FF)],
    "hi": [(0x0900, 0x097F)],
    "th": [(0x0E00, 0x0E7F)],
    "latin": [(0x41, 0x5A), (0x61, 0x7A), (0xC0, 0x24F)],
}
WORDS = {
    "en": "the and of to is in that with for you are this",
    "de": "der die und das ist nicht ein eine mit auf für den",
    "fr": "le les des est une et dans pour que qui sur avec",
    "es": "el los las una es que por con para como del",
    "it": "il gli che di per una sono con della nel non",
    "pt": "os uma não que em para com do da são ao",
    "nl": "het een van en dat niet voor op zijn met wordt ook",
}
DENSE = {"zh": 3, "ja": 3, "ko": 3}
"""How many letters of an alphabet a character stands for."""
LETTERS = 2000
"""Characters of each message that are looked at."""


def look(batch: Batch, context: Context) -> Iterator[Failure]:
    """Where nothing is allowed in particular, only the distribution is told."""
    import numpy as np

    allowed = context.validation.languages
    if not allowed:
        return
    undecided = ["unknown", *(["latin"] if set(allowed) & WORDS.keys() else [])]
    numbers = [NAMES.index(name) for name in (*undecided, *allowed) if name in NAMES]
    found = guess(batch)
    for i in np.flatnonzero(~np.isin(found, numbers)).tolist():
        yield Failure(i, f"seems to be in {NAMES[found[i]]}, not {' or '.join(allowed)}")


def guess(batch: Batch) -> "np.ndarray":
    """The language of each row, as a place in `NAMES` (uint8)."""
    import numpy as np
    import polars as pl

    texts = batch.turns.filter(pl.col("role").is_null() | (pl.col("role") != "system"))
    short = texts.select("row", pl.col("content").str.slice(0, LETTERS).alias("text"))
    scripts = _scripts(short["text"], short["row"].to_numpy(), len(batch))
    han, kana = NAMES.index("zh"), NAMES.index("ja")
    scripts[:, kana] += np.where(scripts[:, kana] > 0, scripts[:, han], 0)  # Japanese is written with both
    best = scripts.argmax(axis=1).astype(np.uint8)
    best[scripts.max(axis=1) == 0] = 0
    latin = np.flatnonzero(best == NAMES.index("latin"))
    if len(latin):
        words = _words(short, len(batch))[latin]
        told = words.max(axis=1) > 0
        best[latin[told]] = (NAMES.index("en") + words.argmax(axis=1)[told]).astype(np.uint8)
    return best


def _scripts(texts: "pl.Series", rows: "np.ndarray", count: int) -> "np.ndarray":
    """The letters of each row in each of `NAMES`' scripts; a Chinese, Japanese or Korean one counts `DENSE` times."""
    import numpy as np

    data = np.frombuffer(b"".join(text.encode() for text in texts.to_list()) + b"\0", np.uint8)
    kinds = _kinds()[data[:-1].astype(np.uint16) << 8 | data[1:]]
    owners = np.repeat(rows, texts.str.len_bytes().to_numpy())
    known = kinds > 0
    flat = owners[known] * len(NAMES) + kinds[known]
    letters = np.bincount(flat, minlength=count * len(NAMES)).reshape(count, len(NAMES))
    return letters * np.array([DENSE.get(name, 1) for name in NAMES])


@cache
def _kinds() -> "np.ndarray":
    """The script by the first two bytes of a character: its place in `NAMES`, 0 for none."""
    import numpy as np

    kinds = np.zeros(1 << 16, np.uint8)
    for first in range(0xC3, 0xF0):
        kinds[(first << 8) + 0x80 : (first << 8) + 0xC0] = NAMES.index("other script")
    kinds[0xE280:0xE300] = 0  # punctuation and symbols
    kinds[0xE380:0xE381] = 0
    kinds[0xEFBC:0xEFC0] = 0  # full width forms
    for name, ranges in SCRIPTS.items():
        for start, end in ranges:
            for code in range(start, end + 1):
                first, *rest = chr(code).encode()
                low, high = (first << 8) + (rest[0] if rest else 0), (first << 8) + (rest[0] if rest else 255)
                kinds[low : high + 1] = NAMES.index(name)
    return kinds


def _words(texts: "pl.DataFrame", count: int) -> "np.ndarray":
    """How many common words of each language each row has."""
    import numpy as np
    import polars as pl

    owner = {f" {word} ": number for number, words in enumerate(WORDS.values()) for word in words.split()}
    padded = (" " + texts["text"].str.to_lowercase() + " ").str.extract_many(list(owner), overlapping=True)
    found = pl.DataFrame({"row": texts["row"], "word": padded}).explode("word").drop_nulls()
    numbers = found["word"].replace_strict(owner, return_dtype=pl.Int64).to_numpy()
    flat = found["row"].to_numpy() * len(WORDS) + numbers
    return np.bincount(flat, minlength=count * len(WORDS)).reshape(count, len(WORDS))
