"""Agent-FLAN: tools, their arguments, and answers to questions about them count three times (arXiv 2403.12881)."""

from components.templates.loss_scale._parts import Parts, by_words

TOOLS = (
    "Name:",
    "Action:",
    "ACTION:",
    "Tool:",
    "Command",
    "Arguments:",
    "action input",
    "ACTION_INPUT:",
    "Action Input:",
)
WORDS = dict.fromkeys(TOOLS, (1.0, 3.0)) | {
    "Thought:": (1.0, 1.0),
    "Final Answer:": (1.0, 1.0),
    "Observation:": (2.0, 0.0),
}
QUESTIONS = (
    "What is the tool you want to use",
    "What are the required parameter names",
    "What is the value of",
)


def weigh(response: str, query: str) -> Parts:
    if any(question in query for question in QUESTIONS):
        return [(response, 3.0)]
    return by_words(response, WORDS)
