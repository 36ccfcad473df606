"""The tags that templates write round a thought."""

import re
from typing import NamedTuple

THOUGHT_TAGS = (
    ("<think>", "</think>"), ("[THINK]", "[/THINK]"), ("<seed:think>", "</seed:think>"), ("<thinking>", "</thinking>"),
    ("<mm:think>", "</mm:think>"), ("<|START_THINKING|>", "<|END_THINKING|>"),
)  # fmt: skip
THOUGHT_OPENINGS = (*(opening for opening, _ in THOUGHT_TAGS), "<|channel>thought")
"""What templates write before a thought; Gemma 4's is not among the tags, because its templates do not read it."""
THOUGHT_TAG = re.compile("|".join(re.escape(tag) for pair in THOUGHT_TAGS for tag in pair))
_INLINE_THOUGHT = re.compile(
    "|".join(rf"(\s*(?:{re.escape(opening)})?)(.*?)({re.escape(closing)})" for opening, closing in THOUGHT_TAGS),
    re.DOTALL,
)


class InlineThought(NamedTuple):
    """A content that begins with a thought, cut into four texts; `opening` may be empty."""

    opening: str
    thought: str
    closing: str
    answer: str


def inline_thought(content: str) -> InlineThought | None:
    """Return the content cut at its thought, or None if the content does not begin with a thought."""
    match = _INLINE_THOUGHT.match(content)
    if match is None:
        return None
    opening, thought, closing = (group for group in match.groups() if group is not None)
    return InlineThought(opening, thought, closing, content[match.end() :])
