"""An empty thought at the beginning of an answer is not learned."""

from components.templates.loss_scale._parts import Parts, by_patterns

EMPTY = {
    r"^\s*<think>\s*</think>\s*": 0.0,
    r"^\s*</think>\s*": 0.0,  # where the generation prompt opens the thought
    r"^<\|channel>thought\n<channel\|>": 0.0,
    r"^\s*</mm:think>\s*": 0.0,
    r"^<seed:think><seed:cot_budget_reflect>[^<]*</seed:cot_budget_reflect>\s*</seed:think>\s*": 0.0,
}


def weigh(response: str, _: str) -> Parts:
    return by_patterns(response, EMPTY)
