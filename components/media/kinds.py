"""The kinds of media, their columns and tags, and the references of a row."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from components.rows import Message, Row

KINDS = ("image", "video", "audio")
COLUMNS = {"image": "images", "video": "videos", "audio": "audios"}
"""Kind to the column of a row with its references."""
TAGS = {kind: f"<{kind}>" for kind in KINDS}
"""Kind to the tag that stands in a text for a medium, as in ms-swift and LLaMA-Factory."""
TAG = re.compile("<(image|video|audio)>")
FOLDER = "media"
"""Name of a folder with media that are no files of their own, beside what refers to them."""
PROMPTS = ("messages", "prompt")
"""Columns of messages in which media stand."""


class Medium(NamedTuple):
    """A reference to a medium: its kind, the path of its file, and the sha256 of the file's content.

    The path may be a data URI, which holds the content itself.
    A video may also be frames, each of which is a picture: `frames` are their references, and the path is empty.
    """

    kind: str
    path: str
    sha256: str
    frames: "tuple[Medium, ...]" = ()


def media_of(row: Row) -> list[Medium]:
    """Return the media of a row: its pictures, then its videos, then its sounds, each in the order of their tags."""
    return [_medium(kind, value) for kind, column in COLUMNS.items() for value in row.get(column) or ()]


def kinds_in(file: Path) -> set[str]:
    """Return the kinds of media in a Parquet file of canonical rows; only the file's statistics are read."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(file)
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    columns = [group.column(i) for group in groups for i in range(group.num_columns)]
    filled = {c.path_in_schema for c in columns if c.statistics and c.statistics.null_count < c.num_values}
    return {kind for kind, name in COLUMNS.items() if name in filled}


def _medium(kind: str, value: Any) -> Medium:
    if isinstance(value, str):
        return Medium(kind, value, "")
    if isinstance(value, list):
        frames = tuple(_medium("image", frame) for frame in value)
        return Medium(kind, "", "+".join(frame.sha256 for frame in frames), frames)
    return Medium(kind, value["path"], value.get("sha256", ""))


def tags_in(text: str, kinds: tuple[str, ...] = KINDS) -> list[str]:
    """Return the kinds of the tags in a text, in order."""
    return [kind for kind in TAG.findall(text) if kind in kinds]


def with_tags(row: Row) -> Row:
    """Return the row with a tag for each medium: where the text has none of a kind, the tags are put before the first
    user's text, as ms-swift and TRL do; without a user before the first words."""
    column = next((name for name in PROMPTS if row.get(name)), None)
    if column is None:
        lacking = _lacking(row, [row.get("text", "")])
        return row | {"text": lacking + row["text"]} if lacking and "text" in row else row
    messages: list[Message] = row[column]
    lacking = _lacking(row, [message["content"] for message in messages])
    if not lacking:
        return row
    roles = [message["role"] for message in messages]
    first = roles.index("user") if "user" in roles else int(roles[0] == "system" and len(roles) > 1)
    tagged = {**messages[first], "content": lacking + messages[first]["content"]}
    return row | {column: [*messages[:first], tagged, *messages[first + 1 :]]}


def in_parts(row: Row) -> list[Message]:
    """Return the messages of a row with a part for each medium in the place of its tag, whose address is the medium's
    path; messages without media stay texts."""
    media = {TAGS[kind]: iter(row.get(column) or ()) for kind, column in COLUMNS.items() if row.get(column)}
    messages: list[Message] = []
    for message in row["messages"]:
        pieces = re.split(f"({'|'.join(media)})", message["content"]) if media else [message["content"]]
        if len(pieces) > 1:
            parts = [_part(p, next(media[p], None)) if i % 2 else _text(p) for i, p in enumerate(pieces) if i % 2 or p]
            message = message | {"content": parts}
        messages.append(message)
    return messages


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _part(tag: str, value: Any) -> dict[str, Any]:
    kind = tag.strip("<>")
    addresses = [_address(frame) for frame in value] if isinstance(value, list) else _address(value)
    return {"type": kind, kind: addresses}


def _address(value: Any) -> Any:
    return value["path"] if isinstance(value, dict) else value


def _lacking(row: Row, texts: list[str]) -> str:
    """Return the tags of the media of each kind that has no tag in the texts."""
    present = {kind for text in texts for kind in tags_in(text)}
    kinds = [kind for kind in KINDS if row.get(COLUMNS[kind]) and kind not in present]
    return "".join(TAGS[kind] * len(row[COLUMNS[kind]]) for kind in kinds)
