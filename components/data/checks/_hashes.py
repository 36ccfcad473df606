"""Hashes of texts and conversations, a column at a time."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

_SPACE = r"\s\s+|[^\S ]"
_INVISIBLE = r"[\p{Default_Ignorable_Code_Point}\p{Cf}]"
_PUNCTUATION = r"[\s.,;:?!\"'…“”‘’«»。，、；：？！「」（）()]+"


def squeezed(texts: "pl.Series") -> "pl.Series":
    """Return the texts with each run of white space as one space, and none at the ends."""
    return texts.str.replace_all(_SPACE, " ").str.strip_chars()


def loose(texts: "pl.Series") -> "pl.Series":
    """Return the texts without case, character width, invisible characters, punctuation and runs of white space; a text
    of nothing else stays as it is.

    Signs that change what is asked, such as those of arithmetic, stay; 3.14 becomes two words, not 314. Texts that the
    metric of the evaluation takes for equal come out equal.
    """
    import polars as pl

    lower = folded(texts).str.to_lowercase()
    plain = lower.str.replace_all(_PUNCTUATION, " ").str.strip_chars()
    return pl.select(pl.when(plain == "").then(lower).otherwise(plain)).to_series()


def folded(texts: "pl.Series") -> "pl.Series":
    """Return the texts with compatible characters as one (NFKC), and without those that are not seen."""
    wide = texts.str.contains(r"[^\x00-\x7f]").fill_null(False).arg_true()
    if not len(wide):
        return texts
    changed = texts.gather(wide).str.replace_all(_INVISIBLE, "").str.normalize("NFKC")
    for one, other in (("ß", "ss"), ("ẞ", "ss"), ("ς", "σ")):  # as Unicode's case folding, which polars lacks
        changed = changed.str.replace_all(one, other, literal=True)
    return texts.clone().scatter(wide, changed)


def mixed(values: "np.ndarray") -> "np.ndarray":
    """Scramble 64 bits (Steele, Lea and Flood's SplitMix64, doi:10.1145/2660193.2660195), so that sums of the results
    are as good as hashes of what was summed."""
    import numpy as np

    values = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def hashed(texts: "pl.Series") -> "np.ndarray":
    """Return 64 bits of each text, equal within one version of polars; 0 for null."""
    return texts.hash(0).to_numpy() * texts.is_not_null().to_numpy()


def placed(hashes: "np.ndarray", places: "np.ndarray") -> "np.ndarray":
    """Return hashes of texts at places, whose sum is a hash of the texts in this order."""
    return mixed(hashes + mixed(places))


def sums(hashes: "np.ndarray", rows: "np.ndarray", count: int) -> "np.ndarray":
    """Return the sum of the hashes of each of `count` rows, modulo 2⁶⁴."""
    import numpy as np

    totals = np.zeros(count, np.uint64)
    np.add.at(totals, rows, hashes)
    return totals


def repeated(keys: "np.ndarray") -> "tuple[np.ndarray, np.ndarray]":
    """Return the indices of keys that repeat an earlier key, in order, and for each the first index of that key."""
    import numpy as np

    order = np.argsort(keys, kind="stable")
    new = np.ones(len(keys), bool)
    new[1:] = keys[order[1:]] != keys[order[:-1]]
    again, starts = np.flatnonzero(~new), np.flatnonzero(new)
    firsts = order[starts[np.searchsorted(starts, again) - 1]]
    again = order[again]
    by_place = np.argsort(again)
    return again[by_place], firsts[by_place]
