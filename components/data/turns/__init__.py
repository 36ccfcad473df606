"""What the formats share: values with their types checked, messages in any dialect, questions, carried columns."""

from components.data.turns.carried import CARRIED, carry, extra
from components.data.turns.exchange import SYSTEMS, asked, split_answer, split_pair, system_of
from components.data.turns.messages import Media, messages_of
from components.data.turns.values import found, named, parsed, text

__all__ = [
    "CARRIED",
    "SYSTEMS",
    "Media",
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
