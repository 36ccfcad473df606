"""Data: from dataset specs to clean conversations, behind a gate.

    sources = resolve(["train.jsonl#500", "owner/name"], workspace, use_hf=False, recorded={}, memo=memo)
    found = collect_rows(sources, [], params.data, workspace)             # rows as JSON: taken, filled, split, mixed
    verdict = inspect(found.tables, {"arithmetic": queries}, params.validation)       # the gate

`readers` knows the kinds of files, `hubs` the hubs, `formats` the shapes of a row, `checks` what a row must hold; each
has one small function or file for each kind, and nothing else changes when one is added.
"""

from components.data.collect import Collected, collect_questions, collect_rows
from components.data.gate import Verdict, hold_expectations, inspect
from components.data.memo import remember
from components.data.report import write_report
from components.data.sources import Source, inputs_sha256, recorded_sources, resolve
from components.data.tables import (
    Table,
    read_questions,
    read_table,
    write_conversations,
    write_questions,
    write_table,
)

__all__ = [
    "Collected",
    "Source",
    "Table",
    "Verdict",
    "collect_questions",
    "collect_rows",
    "hold_expectations",
    "inputs_sha256",
    "inspect",
    "read_questions",
    "read_table",
    "recorded_sources",
    "remember",
    "resolve",
    "write_conversations",
    "write_questions",
    "write_report",
    "write_table",
]
