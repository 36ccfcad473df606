"""Alpha-UMi: as ReAct, and what comes next counts twice (arXiv 2401.07324)."""

from components.templates.loss_scale._parts import Parts, by_words
from components.templates.loss_scale.react import WORDS


def weigh(response: str, _: str) -> Parts:
    return by_words(response, WORDS | {"Next:": (2.0, 2.0)})
