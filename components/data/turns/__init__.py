"""What the formats share: values with their types checked, messages in any dialect, questions, carried columns."""

from components.data.turns.carried import CARRIED, carry, extra
from components.data.turns.exchange import SYSTEMS, asked, split_answer, split_pair, system_of
from components.data.turns.messages import Media, messages_of
from components.data.turns.values import found, named, parsed, text
from components.rows import Message

__all__ = [
    "CARRIED",
    "SYSTEMS",
    "Media",
    "Message",
    "asked",
    "carry",
    "extra",
    "found",
    "messages_of",
    "named",
    "parsed",
    "split_answer",
    "split_pair",
    "system_of",
    "text",
]
