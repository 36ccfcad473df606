"""The shape of a message: its role, and where its texts stand.

A plain message has one text, its content. A message with a thought has two, the thought and the answer.
"""

from components.rows import Message
from components.templates.thoughts import inline_thought

Shape = tuple[str, ...]
"""A role; for a message with a thought also the name of the thought's field, or the tags round the thought."""

THOUGHT_FIELD = "reasoning_content"


def message_shape(message: Message) -> tuple[Shape, list[str]] | None:
    """Return the shape of a message and its texts, or None for a message with calls or with an empty thought."""
    role, content = message["role"], message["content"]
    if THOUGHT_FIELD in message:
        thought = message[THOUGHT_FIELD]
        complete = message.keys() == {"role", "content", THOUGHT_FIELD} and thought.strip() and content.strip()
        return ((role, THOUGHT_FIELD), [thought, content]) if complete else None
    if len(message) != 2:
        return None
    if role == "assistant" and (inline := inline_thought(content)):
        opening, thought, closing, answer = inline
        return ((role, opening, closing), [thought, answer]) if thought.strip() and answer.strip() else None
    return (role,), [content]


def message_of(shape: Shape, texts: list[str]) -> Message:
    """Return the message of a shape with these texts."""
    role, *thought = shape
    if not thought:
        return {"role": role, "content": texts[0]}
    if thought == [THOUGHT_FIELD]:
        return {"role": role, THOUGHT_FIELD: texts[0], "content": texts[1]}
    opening, closing = thought
    return {"role": role, "content": opening + texts[0] + closing + texts[1]}


def are_plain(messages: list[Message]) -> bool:
    """Return whether the messages hold nothing but roles and contents."""
    return {len(message) for message in messages} <= {2}


def are_texts(messages: list[Message]) -> bool:
    """Return whether the messages hold nothing but roles, contents and thoughts."""
    return all(len(message) == 2 or (len(message) == 3 and THOUGHT_FIELD in message) for message in messages)
