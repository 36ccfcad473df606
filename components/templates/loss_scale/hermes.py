"""Hermes: tool calls count twice."""

from components.templates.loss_scale._parts import Parts, by_patterns


def weigh(response: str, _: str) -> Parts:
    return by_patterns(response, {r"<tool_call>.+?</tool_call>": 2.0})
