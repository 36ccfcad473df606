"""ms-swift's rows: a query and a response."""

from typing import Any

from components.data.turns import Message, conversation, text

ACCEPTS = "query + response"


def matches(row: dict[str, Any]) -> bool:
    """A query and a response, or a query that is still to be answered."""
    return "query" in row and ("response" in row or set(row) <= {"query", "system", "history"})


def read(row: dict[str, Any]) -> list[Message]:
    """One question and its answer."""
    return conversation(row, text(row, "query"), text(row, "response"))
