"""The names that columns go by: ms-swift's synonyms (its ResponsePreprocessor), in tiers of how sure they are."""

from collections.abc import Collection
from difflib import get_close_matches

Columns = tuple[str, ...]

CONVERSATIONS = ("messages", "conversations", "conversation")
CLASSES = ("label", "labels")
"""Columns in which a classifier finds the class of a text, the surest first."""
LABELS = (*CLASSES, "label_text", "class", "category", "sentiment", "emotion", "intent")
"""Columns that say what a text is, in sets for other tasks."""
OUTPUTS = ("summary", "translation")
"""Columns that hold what a text is to be answered with."""
_QUESTIONS = (("query",), ("prompt", "question", "problem", "input"))
_PROMPTS = (("prompt", "query"), ("question", "problem"))
_ANSWERS = (
    ("response",),
    ("answer", "output", "targets", "target", "answer_key", "answers", "solution"),
    ("completion",),
    ("text", "content"),
)
_PAIRS = (("query", "response"), ("instruction", "output"), ("prompt", "completion"))


def questions(columns: Collection[str]) -> list[str]:
    """The columns that may hold the question of a question and an answer."""
    return _surest(columns, _QUESTIONS)


def prompts(columns: Collection[str]) -> list[str]:
    """The columns that may hold a question that stands alone."""
    return _surest(columns, _PROMPTS)


def answers(columns: Collection[str]) -> list[str]:
    """The columns that may hold the answer."""
    return _surest(columns, _ANSWERS)


def _surest(columns: Collection[str], tiers: tuple[Columns, ...]) -> list[str]:
    return next((names for tier in tiers if (names := [name for name in tier if name in columns])), [])


def nearest(name: str, known: Collection[str], similarity: float) -> str:
    """Return the known name that is most like `name`, or "" if none is as similar as that (0 to 1)."""
    return next(iter(get_close_matches(name.lower(), known, 1, similarity)), "")


def single_turn(columns: Collection[str]) -> list[str]:
    """All columns that hold a question or an answer."""
    names = ("instruction", *(name for tier in (*_QUESTIONS, *_ANSWERS) for name in tier))
    return [name for name in names if name in columns]


def is_complete(columns: Collection[str]) -> bool:
    """Whether the columns are an entire row of a format with one question and one answer, in its own names."""
    return any(question in columns and answer in columns for question, answer in _PAIRS)
