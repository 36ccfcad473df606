"""Qwen 2's tool calls: function and arguments count twice, what the tool answered is not learned."""

from components.templates.loss_scale._parts import Parts, by_words

WORDS = {
    "✿FUNCTION✿:": (2.0, 2.0),
    "✿ARGS✿:": (2.0, 2.0),
    "✿RETURN✿:": (1.0, 1.0),
    "✿RESULT✿:": (2.0, 0.0),
}


def weigh(response: str, _: str) -> Parts:
    return by_words(response, WORDS)
