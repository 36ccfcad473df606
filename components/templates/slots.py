"""Where in a message texts stand: in a plain one its content, in one with a thought the thought and the answer."""

from components.rows import Message
from components.templates.marks import THOUGHT

Shape = tuple[str, ...]
"""A message's role, and for one with a thought what stands round it: the name of its field, or its tags."""

FIELD = "reasoning_content"


def slots(message: Message) -> tuple[Shape, list[str]] | None:
    """The shape of a message and the texts in its slots; None for one that has no shape (a call, an empty thought)."""
    role, content = message["role"], message["content"]
    if FIELD in message:
        thought = message[FIELD]
        texts = [thought, content]
        known = message.keys() == {"role", "content", FIELD} and thought.strip() and content.strip()
        return ((role, FIELD), texts) if known else None
    if len(message) != 2:
        return None
    if role == "assistant" and (inline := THOUGHT.match(content)):
        opening, thought, closing = (group for group in inline.groups() if group is not None)
        answer = content[inline.end() :]
        return ((role, opening, closing), [thought, answer]) if thought.strip() and answer.strip() else None
    return (role,), [content]


def message_of(shape: Shape, texts: list[str]) -> Message:
    """The message of a shape with these texts."""
    role, *thought = shape
    if not thought:
        return {"role": role, "content": texts[0]}
    if thought == [FIELD]:
        return {"role": role, FIELD: texts[0], "content": texts[1]}
    opening, closing = thought
    return {"role": role, "content": opening + texts[0] + closing + texts[1]}


def is_plain(messages: list[Message]) -> bool:
    """Whether the messages hold roles and contents alone."""
    return {len(message) for message in messages} <= {2}


def may_be_laid_out(messages: list[Message]) -> bool:
    """Whether the messages hold nothing but roles, contents and thoughts."""
    return all(len(message) == 2 or (len(message) == 3 and FIELD in message) for message in messages)
