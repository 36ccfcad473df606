"""Carried columns: tools, media, settings and columns for rewards, which go along with a row of any format."""

from collections.abc import Iterable
from typing import Any

from components import rows
from components.data.normalize.calls import tools
from components.data.normalize.exchange import SYSTEMS
from components.data.normalize.values import describe, from_json, text, writable

_MEDIA = {name: f"{name.removesuffix('s')}s" for name in ("images", "image", "videos", "video", "audios", "audio")}
CARRIED_MEDIA = tuple(_MEDIA)
CARRIED = (*_MEDIA, "rejected_images", "tools", "objects", "chat_template_kwargs", "channel", "extra")


def carry(raw: dict[str, Any], names: Iterable[str], row: rows.Row) -> None:
    """Add the carried columns `names` of a raw row to its canonical row.

    Raises:
        ValueError: a value of the wrong type; media both in a column and in the content's parts.
    """
    for name in names:
        if name in _MEDIA:
            _carry_media(raw, name, row)
        elif name == "tools":
            row |= {"tools": declared} if (declared := tools(raw["tools"])) else {}
        elif name == "channel":
            row["channel"] = text(raw, "channel")
        elif name == "rejected_images":
            raise ValueError("'rejected_images': both answers are to the media of the prompt; leave the column out")
        elif name == "extra":
            if "prompt" in row and isinstance(raw[name], dict):  # of a row that is canonical already
                row["extra"] = row.get("extra", {}) | writable(raw[name], "'extra'")
        else:
            row |= {name: settings} if (settings := _object(raw[name], name)) else {}


def _carry_media(raw: dict[str, Any], name: str, row: rows.Row) -> None:
    column = _MEDIA[name]
    if name != column and raw.get(column):  # the plural is the convention
        return
    if column in row:
        raise ValueError(f"holds media both in '{name}' and in its messages' parts: leave one of them out")
    value = raw[name]
    if isinstance(value, str) and value.startswith("["):  # a list in a cell of CSV
        value = from_json(value, f"'{name}'")
    media = value if isinstance(value, list) else [value]
    wrong = next((one for one in media if not isinstance(one, str | dict | list)), "")
    if wrong != "":
        raise ValueError(f"'{name}' must be addresses of media, not {describe(wrong)}")
    row[column] = writable(media, f"'{name}'")


def _object(value: Any, name: str) -> dict[str, Any]:
    value = from_json(value, f"'{name}'")
    if not isinstance(value, dict):
        raise ValueError(f"'{name}' must be an object, not {describe(value)}")
    return writable(value, f"'{name}'")


def extra(raw: dict[str, Any], column: str) -> rows.Row:
    """Return `{"extra": …}` with the columns for rewards, all that no format reads; {} where there are none."""
    read = (column, "_", "history", *SYSTEMS, *CARRIED)  # _ is the name of what is to be left out
    others = {name: value for name, value in raw.items() if value is not None and name not in read}
    return {"extra": writable(others, "what goes to the rewards")} if others else {}
