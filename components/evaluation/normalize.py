"""Equality of answers up to case, character width, white space and trailing punctuation."""

import unicodedata

TRAILING_PUNCTUATION = ".,;:!? 。、"


def normalize(text: str) -> str:
    """Return `text` with case, character width and white space normalised, without trailing punctuation."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.rstrip(TRAILING_PUNCTUATION) or folded
