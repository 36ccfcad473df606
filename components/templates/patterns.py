"""Regular expressions for sets of words."""

import re
from collections.abc import Iterable


def any_of(words: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern for any of the words, the longest first; without words the pattern matches nothing."""
    return re.compile("|".join(re.escape(word) for word in sorted(set(words), key=len, reverse=True)) or "(?!)")
