"""Stanford Alpaca's rows: an instruction, an optional input, the output (https://github.com/tatsu-lab/stanford_alpaca)."""

from collections.abc import Collection
from typing import Any

from components import rows
from components.data.formats._columns import Columns, answers
from components.data.formats.query_response import answer
from components.data.normalize import question_messages, text

ACCEPTS = "instruction (+ input) + output"


def readings(columns: Collection[str]) -> list[Columns]:
    """An instruction, and `output` or another name for the answer."""
    if "instruction" not in columns:
        return []
    beside = ("input",) if "input" in columns else ()
    names = ["output"] if "output" in columns else answers(columns)
    return [("instruction", name, *beside) for name in names]


def read(raw: dict[str, Any], columns: Columns) -> rows.Row:
    """Instruction and input are one question, a line each."""
    parts = [text(raw, "instruction"), text(raw, "input")]
    question = "\n".join(part for part in parts if part)
    return {"messages": [*question_messages(raw, question), answer(raw, columns[1])]}
