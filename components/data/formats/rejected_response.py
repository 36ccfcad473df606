"""ms-swift's preferences: a conversation in any format, and its `rejected_response` or `rejected_messages`."""

from collections.abc import Collection
from typing import Any

from components import rows
from components.data.formats import _answered
from components.data.formats._columns import Columns
from components.data.formats.preference import answer
from components.data.normalize import Media, messages_of, split_answer, split_pair

ACCEPTS = "any of these + rejected_response or rejected_messages"


def readings(columns: Collection[str]) -> list[Columns]:
    """Each conversation in the row, with each of the two."""
    worse = [name for name in ("rejected_response", "rejected_messages") if name in columns]
    return [(*group, name) for name in worse for group in _answered.readings(columns)]


def read(raw: dict[str, Any], columns: Columns) -> rows.Row:
    """Prompt, chosen and rejected; the rejected response stands for all that answers the last question."""
    row = _answered.read(raw, columns[:-1])
    messages = row.pop("messages")
    media: Media = {}
    if columns[-1] == "rejected_messages":
        rejected = messages_of(raw["rejected_messages"], "rejected_messages", media)
        if messages[0]["role"] == "system" != rejected[0]["role"]:
            rejected = [messages[0], *rejected]
        prompt, chosen, rejected = split_pair(messages, rejected)
    else:
        prompt, chosen = split_answer(messages)
        rejected = answer(raw, "rejected_response", media)
    if any(media[name] != row.get(name) for name in media):
        raise ValueError(f"'{columns[-1]}' holds media of its own: these belong into the prompt that both share")
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected} | row
