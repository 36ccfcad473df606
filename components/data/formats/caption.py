"""A picture, a video or a sound and what it shows: its caption or its class, as folders and archives of media have it.

https://huggingface.co/docs/datasets/image_dataset, https://github.com/webdataset/webdataset
"""

from collections.abc import Collection
from typing import Any

from components import rows
from components.data.formats import text as plain_text
from components.data.formats._columns import CLASSES, CONVERSATIONS, Columns, single_turn
from components.data.normalize import CARRIED_MEDIA, extra, question_messages, text
from components.media import tags_in

ACCEPTS = "image, video or audio + text, caption or label"


def readings(columns: Collection[str]) -> list[Columns]:
    """Media and the surest of the columns that say what they show, if no other column asks or answers."""
    media = [name for name in CARRIED_MEDIA if name in columns][:1]
    if not media or any(name in columns for name in (*CONVERSATIONS, "chosen", "rejected")):
        return []
    if "text" in columns and ("text",) in plain_text.readings(columns):
        return [("text", *media)]
    names = [name for name in ("caption", *CLASSES) if name in columns][:1]
    return [(name, *media) for name in names if not single_turn(columns)]


def read(raw: dict[str, Any], columns: Columns) -> rows.Row:
    """A question of the media alone, answered by the caption or with the class in `extra`; a text with tags of its own
    stays a text."""
    name = columns[0]
    if name in CLASSES:
        return {"prompt": question_messages(raw, "")} | extra({name: raw[name]}, "")
    answer = text(raw, name)
    if tags_in(answer):
        return {"text": answer}
    return {"messages": [*question_messages(raw, ""), {"role": "assistant", "content": answer}]}
