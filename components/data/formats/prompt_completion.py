"""TRL's prompt and completion, as texts or as messages (https://huggingface.co/docs/trl/dataset_formats)."""

from collections.abc import Collection
from typing import Any

from components import rows
from components.data.formats._columns import Columns
from components.data.formats.preference import answer
from components.data.formats.prompt import prompt_of
from components.data.normalize import Media

ACCEPTS = "prompt + completion"


def readings(columns: Collection[str]) -> list[Columns]:
    """A prompt and a completion."""
    group = ("prompt", "completion")
    return [group] if {*group} <= {*columns} else []


def read(raw: dict[str, Any], columns: Columns) -> rows.Row:
    """The messages of both; only the completion is learned."""
    media: Media = {}
    prompt = prompt_of(raw, columns[0], media)
    unlearned = [m | {"loss_scale": 0.0} if m["role"] == "assistant" else m for m in prompt]
    return {"messages": unlearned + answer(raw, columns[1], media)} | media
