"""Why no format reads a row: its columns that have no known name, the nearest known ones, and how to rename them."""

import json
from collections.abc import Collection

from components.data.formats._columns import (
    CONVERSATIONS,
    LABELS,
    answers,
    nearest,
    questions,
    single_turn,
)
from components.data.normalize import CARRIED, SYSTEMS

_BESIDE = {*CARRIED, *SYSTEMS, *LABELS, "history", "_", "id", "index", "source", "url"}
_KNOWN = ("instruction", "query", "prompt", "question", "response", "answer", "output", "completion", "solution")
_OTHERS = ("chosen", "rejected", "rejected_response", "rejected_messages", *CONVERSATIONS)


def advice(columns: Collection[str]) -> str:
    """Return what is wrong with a row of these columns and which of them to rename; "" where none is a likely one."""
    known_columns = {*single_turn(columns), *_OTHERS}
    unread = [name for name in columns if name not in known_columns and name not in _BESIDE and name.isprintable()]
    answered = [name for name in answers(columns) if name not in ("text", "content")]
    asking = questions(columns) or [name for name in ("instruction",) if name in columns]
    texts = [name for name in ("text", "content") if name in columns]
    labels = [name for name in LABELS if name in columns]
    if texts and labels:
        pair = json.dumps({texts[0]: "query", labels[0]: "response"})
        return (
            f"'{labels[0]}' beside the plain text '{texts[0]}' would not be learned: make them question and answer "
            f"with --columns '{pair}', or leave it out with --columns '{json.dumps({labels[0]: '_'})}'"
        )
    if unread and answered and not asking:
        return _rename(unread, "query", f"'{answered[0]}' answers, but no column is known to ask")
    if unread and asking and not answered:
        return _rename(unread, "response", f"'{asking[0]}' asks, but no column is known to answer")
    slips = {name: near for name in unread if (near := nearest(name, (*_KNOWN, *_OTHERS), 0.8))}
    return _flag(slips, f"not read are {', '.join(slips)}") if slips else ""


def _rename(unread: list[str], name: str, problem: str) -> str:
    likely = next((column for column in unread if nearest(column, _KNOWN, 0.6)), unread[0])
    return _flag({likely: name}, f"{problem} (not read: {', '.join(unread)})")


def _flag(names: dict[str, str], problem: str) -> str:
    return f"{problem}; rename with --columns '{json.dumps(names, ensure_ascii=False)}'"
