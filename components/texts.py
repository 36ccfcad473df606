"""Numbers as people read them, and texts as they are compared."""

import unicodedata

TRAILING_PUNCTUATION = ".,;:!? 。、"


def number(value: float, unit: str = "") -> str:
    """Return a number in about three figures: 12,300, 1.23, 0.0123, 1.2e-05."""
    if value and abs(value) < 1e-3:
        return f"{value:.1e}{unit}"
    text = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return text + unit


def size(count: float) -> str:
    """Return bytes in up to three figures: 1.23 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


def count(number: int, noun: str) -> str:
    """Return `1 file`, or `2 files`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Return a time in two parts: `45 s`, `3 min 20 s`, `2 h 05 min`, `3 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def normalized(text: str) -> str:
    """Return a text without differences of case, character width and white space, and without trailing
    punctuation."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    return folded.rstrip(TRAILING_PUNCTUATION) or folded
