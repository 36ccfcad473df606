"""Why no format reads a row: its columns that have no known name, the nearest known ones, and how to rename them."""

import json
from collections.abc import Collection, Mapping
from types import MappingProxyType

from components.data.formats._columns import (
    CLASSES,
    CONVERSATIONS,
    LABELS,
    OUTPUTS,
    answers,
    nearest,
    questions,
    single_turn,
)
from components.data.normalize import CARRIED, SYSTEMS

_BESIDE = {*CARRIED, *SYSTEMS, *LABELS, *OUTPUTS, "history", "_", "id", "index", "source", "url"}
_KNOWN = ("instruction", "query", "prompt", "question", "response", "answer", "output", "completion", "solution")
_OTHERS = ("chosen", "rejected", "rejected_response", "rejected_messages", *CONVERSATIONS)


def advice(columns: Collection[str]) -> str:
    """Return what is wrong with a row of these columns and which of them to rename; "" where none is a likely one."""
    known_columns = {*single_turn(columns), *_OTHERS}
    unread = [name for name in columns if name not in known_columns and name not in _BESIDE and name.isprintable()]
    answered = [name for name in answers(columns) if name not in ("text", "content")]
    asking = questions(columns) or [name for name in ("instruction",) if name in columns]
    texts = [name for name in ("text", "content") if name in columns]
    labels = [name for name in (*LABELS, *OUTPUTS) if name in columns]
    if texts and labels:
        pair = json.dumps({texts[0]: "query", labels[0]: "response"})
        as_class = f"a text and its class with --columns '{json.dumps({labels[0]: 'label'})}', "
        return (
            f"'{labels[0]}' beside the plain text '{texts[0]}' would not be learned: make them question and answer "
            f"with --columns '{pair}', {as_class * (labels[0] in LABELS)}or leave it out with "
            f"--columns '{json.dumps({labels[0]: '_'})}'"
        )
    if unread and {*labels} & {*LABELS} and not asking and not answered:
        others = {} if labels[0] in CLASSES else {labels[0]: "label"}
        return _rename(unread, "text", f"'{labels[0]}' labels a text, but no column is known to be one", others)
    if unread and answered and not asking:
        return _rename(unread, "query", f"'{answered[0]}' answers, but no column is known to ask")
    if unread and asking and not answered:
        return _rename(unread, "response", f"'{asking[0]}' asks, but no column is known to answer")
    if [*columns] == unread and len(unread) == 1:
        return _rename(unread, "text", "no column is known")
    slips = {name: near for name in unread if (near := nearest(name, (*_KNOWN, *_OTHERS), 0.8))}
    return _flag(slips, f"not read are {', '.join(slips)}") if slips else ""


def _rename(unread: list[str], name: str, problem: str, others: Mapping[str, str] = MappingProxyType({})) -> str:
    likely = next((column for column in unread if nearest(column, _KNOWN, 0.6)), unread[0])
    return _flag({likely: name, **others}, f"{problem} (not read: {', '.join(unread)})")


def _flag(names: dict[str, str], problem: str) -> str:
    return f"{problem}; rename with --columns '{json.dumps(names, ensure_ascii=False)}'"
