"""Two ways to cut a response: at words that introduce what follows, and by patterns."""

import re
from collections.abc import Mapping

Parts = list[tuple[str, float]]


def by_words(text: str, words: Mapping[str, tuple[float, float]]) -> Parts:
    """Cut before each of `words`; the word has the first weight, what follows it the second, what leads up to it 1."""
    pieces = re.split("(" + "|".join(map(re.escape, words)) + ")", text)
    parts = [(pieces[0], 1.0)]
    for word, rest in zip(pieces[1::2], pieces[2::2], strict=True):
        parts += [(word, words[word][0]), (rest, words[word][1])]
    return parts


def by_patterns(text: str, patterns: Mapping[str, float]) -> Parts:
    """What a pattern matches has its weight, all else 1."""
    parts, position = [], 0
    for match in re.finditer("|".join(f"({pattern})" for pattern in patterns), text, re.DOTALL):
        parts.append((text[position : match.start()], 1.0))
        parts.append((match.group(), list(patterns.values())[(match.lastindex or 1) - 1]))
        position = match.end()
    return [*parts, (text[position:], 1.0)]
