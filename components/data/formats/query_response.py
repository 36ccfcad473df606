"""One question and its answer: ms-swift's query and response, and the other names it knows for these."""

from collections.abc import Collection
from typing import Any

from components import rows
from components.data.formats import _columns, prompt
from components.data.formats._columns import Columns
from components.data.normalize import question_messages, text

ACCEPTS = "query or question + response or answer"


def readings(columns: Collection[str]) -> list[Columns]:
    """Every question with every answer, of the surest names there are; a prompt and a completion are TRL's."""
    groups = [(question, answer) for question in _columns.questions(columns) for answer in _columns.answers(columns)]
    return [group for group in groups if group != ("prompt", "completion")]


def read(raw: dict[str, Any], columns: Columns) -> rows.Row:
    """The system prompt and the history of the row, both optional, then the question and its answer.

    A list of messages with an answer in a column of its own asks for what a reward is to compare: it is a prompt.
    """
    if isinstance(raw[columns[0]], list):
        return prompt.read(raw, columns[:1])
    return {"messages": [*question_messages(raw, text(raw, columns[0])), answer(raw, columns[1])]}


def answer(raw: dict[str, Any], column: str) -> rows.Message:
    """The assistant's message; of a list of answers the first, as ms-swift takes it unless told to choose by chance."""
    value = raw[column]
    content = text({column: value[0]} if isinstance(value, list) and value else raw, column)
    return {"role": "assistant", "content": content}
