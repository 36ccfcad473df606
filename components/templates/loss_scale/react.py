"""ReAct: the tool and its input count twice, what the tool answered is not learned (arXiv 2309.00986)."""

from components.templates.loss_scale._parts import Parts, by_words

WORDS = {
    "Action:": (2.0, 2.0),
    "Action Input:": (2.0, 2.0),
    "Thought:": (1.0, 1.0),
    "Final Answer:": (1.0, 1.0),
    "Observation:": (2.0, 0.0),
}


def weigh(response: str, _: str) -> Parts:
    return by_words(response, WORDS)
