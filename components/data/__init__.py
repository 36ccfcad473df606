"""Data: from dataset specs to clean rows, behind a gate.

    sources = resolve(["train.jsonl#500", "hf::owner/name:zh@main"], workspace, use_hf=False, recorded={}, memo=memo)
    rows = collect_rows(sources, [], params.data, scratch)               # sampled, filled, split and mixed
    write_raw_rows(folder / "train.parquet", rows.tables["train"])       # columns source, row, raw (JSON)
    verdict = run_gate(folder, scratch, {}, params.validation)           # canonical rows, each clean or named

`readers` has the kinds of files, `catalogue` the built-in datasets, `formats` the shapes of a row, `checks` and
`set_checks` the conditions on rows: one small file for each, which a new one adds.
"""

from components.data import media
from components.data.collect import RowTables, collect_questions, collect_rows
from components.data.expectations import check_expectations
from components.data.formats import read_row
from components.data.gate import Verdict, run_gate
from components.data.questions import read_questions, write_questions
from components.data.report import write_report
from components.data.resolve import resolve
from components.data.row_store import StoredRows, write_raw_rows
from components.data.sources import Source, inputs_sha256, recorded_commits, row_location
from components.data.stream import RawRow, RowStream, StreamPosition
from components.data.streaming_gate import GateCounts, StreamingGate
from components.data.value_cache import cached_value

__all__ = [
    "GateCounts",
    "RawRow",
    "RowStream",
    "RowTables",
    "Source",
    "StoredRows",
    "StreamPosition",
    "StreamingGate",
    "Verdict",
    "cached_value",
    "check_expectations",
    "collect_questions",
    "collect_rows",
    "inputs_sha256",
    "media",
    "read_questions",
    "read_row",
    "recorded_commits",
    "resolve",
    "row_location",
    "run_gate",
    "write_questions",
    "write_raw_rows",
    "write_report",
]
