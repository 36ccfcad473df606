"""Stanford Alpaca's rows: an instruction, an optional input, the output (https://github.com/tatsu-lab/stanford_alpaca)."""

from typing import Any

from components.data.turns import Message, conversation, text

ACCEPTS = "instruction + output"


def matches(row: dict[str, Any]) -> bool:
    """An instruction and an output."""
    return "instruction" in row and "output" in row


def read(row: dict[str, Any]) -> list[Message]:
    """Instruction and input are one question, a line each."""
    parts = [text(row, "instruction"), text(row, "input")]
    return conversation(row, "\n".join(part for part in parts if part), text(row, "output"))
