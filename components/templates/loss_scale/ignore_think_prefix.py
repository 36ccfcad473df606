"""The tag that opens a thought at the beginning of an answer is not learned."""

from components.templates.loss_scale._parts import Parts, by_patterns


def weigh(response: str, _: str) -> Parts:
    return by_patterns(response, {r"^<think>\n?": 0.0})
