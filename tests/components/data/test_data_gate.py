"""The gate: what happens to a row that fails, what closes it, and that no row is lost."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components import rows as rows_module
from components.data import canonical
from components.data.canonical import row_groups
from components.data.check_list import all_checks
from components.data.checks.empty import is_blank
from components.data.findings import SHOWN
from tests.components.data.gates import chat, clean, judged, pair, table

GOOD = [pair(f"question {i}") for i in range(5)]


def test_good_rows_pass():
    verdict = judged(table(*GOOD), table(pair("held out"), source="v.jsonl"))
    assert not verdict.closed and not verdict.findings.counts
    assert verdict.rows() == {"train": 5, "val": 1, "dropped": 0}


def test_an_unreadable_row_never_goes_on():
    verdict = judged(table(*GOOD, {"foo": 1}, "[1]", '"text"'), on_schema="ignore")
    assert not verdict.closed and verdict.rows() == {"train": 5, "val": 0, "dropped": 3}


def test_half_a_character_is_told_and_left_out():
    verdict = judged(
        table(*GOOD, r'{"query": "\ud83d", "response": "x"}', r'{"query": "\ud83d\ude00", "response": "x"}')
    )
    (found,) = verdict.findings.of("rejected")
    assert (found.row, found.check) == (6, "schema") and "surrogate" in found.reason and verdict.closed


def test_a_row_is_left_out_once_by_the_first_check_and_warned_of_by_each():
    fault = pair(" ", "cafÃ© \ufffd jane@acme.io")
    (found,) = judged(table(*GOOD, fault)).findings.of("rejected")
    assert (found.check, found.row) == ("empty", 6)
    warned = judged(table(*GOOD, fault), on_empty="warn").findings.of("warned")
    assert [f.check for f in warned] == ["empty", "encoding", "personal"]


def test_limits():
    few = judged(table(*GOOD), min_rows=6)
    assert few.reasons == ["min_rows: 5 rows left to train on, fewer than 6"]
    many = judged(table(*GOOD, pair("", "")), max_dropped=0.1)
    assert len(many.reasons) == 1
    assert many.reasons[0].startswith("max_dropped: 1 of 6 rows left out, more than 10% (empty 1, first a.jsonl:6: ")
    assert not judged(table(*GOOD, pair("", "")), max_dropped=0.2).closed


def test_nothing_left_closes_the_gate():
    for verdict in (judged(table(pair("", "")), max_dropped=1), judged(table(pair("", "")), table(), max_dropped=1)):
        assert verdict.reasons[0].startswith(
            "min_rows: 0 rows left to train on, fewer than 1 (empty 1, first a.jsonl:1: "
        )


def test_the_first_reason_alone_quotes_a_row():
    verdict = judged(table(pair("", "")), on_empty="block")
    assert [reason.partition(":")[0] for reason in verdict.reasons] == ["empty", "min_rows", "max_dropped"]
    assert ["a.jsonl:1" in reason for reason in verdict.reasons] == [True, False, False]


def test_secrets_are_never_repeated():
    secret = "hf_" + "x" * 34
    verdict = judged(table(*GOOD, {"query": 5, "note": secret}, pair(secret, "")), on_schema="block")
    told = " ".join([*verdict.reasons, *map(str, verdict.findings.of("rejected"))])
    assert secret[:6] not in told and told.count("hf•••") >= 2


def test_the_offending_bit_stands_in_its_quote_however_far_it_is():
    fault = pair("q", "ok " * 5000 + "cafÃ©\t" + "ok " * 5000)
    (found,) = judged(table(fault), on_language="ignore").findings.of("warned")
    assert found.excerpt == "Ã©" and found.excerpt in found.quote and len(found.quote) < 200
    assert found.quote.startswith("…") and found.quote.endswith("…")


def test_more_findings_than_the_page_shows_are_counted_and_on_the_disk(tmp_path: Path):
    rows = [pair("", f"{i}") for i in range(SHOWN + 20)]
    verdict = judged(table(*GOOD, *rows), folder=tmp_path, max_dropped=1)
    assert verdict.findings.count("rejected") == SHOWN + 20 and len(verdict.findings.of("rejected")) == SHOWN
    lines = [json.loads(line) for line in verdict.findings.lines("rejected")]
    assert [line["row"] for line in lines] == list(range(6, SHOWN + 26))


def test_rows_over_several_batches_keep_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    sizes: list[int] = []

    def read_batches(path: Path, columns: list[str] | None = None):
        for batch in rows_module.read_batches(path, columns, 5):
            sizes.append(batch.num_rows)
            yield batch

    monkeypatch.setattr(canonical, "read_batches", read_batches)
    rows = [pair(f"question {i}") for i in range(40)]
    rows[3], rows[17], rows[25], rows[39] = pair("", "x"), chat("user", "user"), rows[2], rows[30]
    verdict = judged(table(*rows), table(rows[10], rows[11], source="v.jsonl"), folder=tmp_path, group_rows=7)
    assert [group.start for group in row_groups(tmp_path / "raw")] == [0, 7, 14, 21, 28, 35, 40]
    found = {(f.split, f.row, f.check) for f in verdict.findings.of("rejected")}
    assert found == {
        ("train", 4, "empty"), ("train", 18, "roles"), ("train", 26, "duplicate"), ("train", 40, "duplicate"),
        ("train", 11, "leak"), ("train", 12, "leak"),
    }  # fmt: skip
    kept = clean(verdict, tmp_path)
    assert [row["row"] for row in kept] == [i for i in range(1, 41) if i not in (4, 18, 26, 40, 11, 12)]
    assert kept[3]["messages"][0]["content"] == "question 4"
    assert len(sizes) > 8 and max(sizes) == 5
    quotes = {finding.row: finding.quote for finding in verdict.findings.of("rejected") if finding.split == "train"}
    assert "question 24" not in quotes[26] and rows[25]["query"] in quotes[26]


TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20).filter(
    lambda text: not is_blank(text)
)


@st.composite
def chats(draw: st.DrawFn) -> dict[str, Any]:
    roles = draw(st.sampled_from([[], ["system"]])) + ["user", "assistant"] * draw(st.integers(1, 3))
    return {"messages": [{"role": role, "content": draw(TEXT)} for role in roles]}


@settings(max_examples=30)
@given(st.lists(chats(), min_size=1, max_size=8, unique_by=lambda row: json.dumps(row)))
def test_valid_chats_go_through_unchanged(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]):
    folder = tmp_path_factory.mktemp("gate")
    verdict = judged(table(*rows), folder=folder, on_duplicate="ignore")
    assert not verdict.closed and not verdict.findings.of("rejected")
    told = [[(m["role"], m["content"]) for m in row["messages"]] for row in clean(verdict, folder)]
    assert told == [[(m["role"], m["content"]) for m in row["messages"]] for row in rows]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
)
KEYS = st.sampled_from(
    ["instruction", "output", "query", "response", "history", "system", "messages", "prompt", "chosen", "rejected",
     "completion", "label", "text", "tools", "images"]
)  # fmt: skip
ROWS = st.dictionaries(KEYS, ANYTHING | TEXT | chats().map(lambda row: row["messages"]), max_size=5)


@settings(max_examples=60)
@given(st.lists(ROWS, max_size=10), st.sampled_from(["ignore", "warn", "drop", "block"]))
def test_rows_in_are_rows_out_and_rows_named(tmp_path_factory: pytest.TempPathFactory, rows: list[Any], action: str):
    folder = tmp_path_factory.mktemp("gate")
    actions: dict[str, Any] = {f"on_{name}": action for name in all_checks()}
    verdict = judged(table(*rows), folder=folder, **actions)
    named = [json.loads(line)["row"] for line in verdict.findings.lines("rejected")]
    left = [row for batch in verdict.batches("train") for row in batch.column("row").to_pylist()]
    assert sorted(named + left) == list(range(1, len(rows) + 1))
    assert verdict.rows() == {"train": len(left), "val": 0, "dropped": len(named)}
    assert verdict.closed == bool(verdict.reasons) and (verdict.closed or left)


def test_several_processes_come_to_the_same_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [pair(f"question number {n}", "" if n % 50 == 7 else f"answer {n % 400}") for n in range(9000)]
    rows[4100] = {"foo": 1}
    folders = [tmp_path / name for name in ("alone", "several")]
    command = """
import sys
from pathlib import Path
from components.config.groups.validation import Validation
from components.data import run_gate, write_report
folder, count = Path(sys.argv[1]), int(sys.argv[2])
verdict = run_gate(folder / "raw", folder / "spool", {}, Validation(on_schema="drop"), None, count)
write_report(folder, verdict)
verdict.write(folder)
"""
    for count, folder in enumerate(folders, 1):
        (folder / "raw").mkdir(parents=True)
        (folder / "spool").mkdir()
        pq.write_table(table(*rows), folder / "raw/train.parquet", row_group_size=2000)
        # A process of its own: the threads of polars, once started here, keep the gate to one process.
        subprocess.run([sys.executable, "-c", command, str(folder), str(count)], check=True)
    for name in ("data.json", "data.html", "train.parquet"):
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()
    report = json.loads((folders[0] / "data.json").read_text())
    assert sum(check["count"] for check in report["checks"] if check["name"] in ("empty", "schema")) == 181


def test_of_two_alike_the_first_in_the_file_stays_however_they_were_mixed():
    mixed = table(pair("same"), pair("other"), pair("same"), numbers=[30, 20, 10])
    (found,) = judged(mixed).findings.of("rejected")
    assert (found.check, found.row, found.reason) == ("duplicate", 30, "the same as a.jsonl:10")


def test_the_row_named_first_is_the_first_in_its_file_however_the_rows_were_mixed():
    numbers = [*range(2 * SHOWN, 0, -1)]
    verdict = judged(table(*[pair("") for _ in numbers], numbers=numbers), on_empty="block", max_dropped=1)
    assert verdict.reasons[0].startswith(f"empty: {2 * SHOWN} rows, first a.jsonl:1: ")
    assert [finding.row for finding in verdict.findings.of("rejected")] == [*range(1, SHOWN + 1)]
