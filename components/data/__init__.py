"""Data: from dataset specs to clean rows, behind a gate.

    sources = resolve(["train.jsonl#500", "hf::owner/name:zh@main"], workspace, use_hf=False, recorded={}, memo=memo)
    found = collect_rows(sources, [], params.data, scratch)               # on the disk: taken, filled, split, mixed
    write_picked(folder / "train.parquet", found.tables["train"])         # columns source, row, raw (JSON)

`readers` knows the kinds of files, `hubs` the hubs, `catalogue` the built-in datasets, `formats` the shapes of a row,
`checks` what a row must hold; each has one small file for each kind, and nothing else changes when one is added.
"""

from components.data.collect import Collected, collect_questions, collect_rows, read_questions, write_questions
from components.data.expectations import hold_expectations
from components.data.formats import to_row
from components.data.gate import Verdict, inspect
from components.data.memo import remember
from components.data.report import write_report
from components.data.resolve import resolve
from components.data.sieve import Sieve, Tally
from components.data.sources import Source, inputs_sha256, recorded_sources, where
from components.data.spool import Picked, write_picked
from components.data.stream import Item, Position, Stream

__all__ = [
    "Collected",
    "Item",
    "Picked",
    "Position",
    "Sieve",
    "Source",
    "Stream",
    "Tally",
    "Verdict",
    "collect_questions",
    "collect_rows",
    "hold_expectations",
    "inputs_sha256",
    "inspect",
    "read_questions",
    "recorded_sources",
    "remember",
    "resolve",
    "to_row",
    "where",
    "write_picked",
    "write_questions",
    "write_report",
]
