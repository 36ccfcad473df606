"""Reports of a candidate: figures, bytes, and the way back."""

from pathlib import Path
from typing import Any

import pytest
from scipy.stats import binomtest

from components.evaluation import read_records, summary, wilson, write_report
from components.files import read_json


def record(item: int, score: float, **other: Any) -> dict[str, Any]:
    plain = {"set": "s", "item": item, "query": f"q{item}", "answer": "a", "reference": "r", "answer_tokens": item}
    return {**plain, "score": score, **other}


@pytest.mark.parametrize(("right", "items"), [(0, 5), (3, 7), (59, 60), (60, 60)])
def test_wilson_is_scipys(right: int, items: int) -> None:
    expected = binomtest(right, items).proportion_ci(0.95, method="wilson")
    assert wilson(right / items, items) == pytest.approx((expected.low, expected.high))


def test_a_summary_counts_each_set_and_hashes_its_questions() -> None:
    rows = [record(0, 1.0), record(1, 0.0), record(0, 1.0, set="other")]
    sets = summary("base", rows)["sets"]
    assert list(sets) == ["s", "other"]
    assert {k: sets["s"][k] for k in ("items", "accuracy", "mean_answer_tokens")} == {
        "items": 2,
        "accuracy": 0.5,
        "mean_answer_tokens": 0.5,
    }
    answered_otherwise = [{**row, "answer": "x", "score": 0.0} for row in rows]
    changed = [{**row, "reference": "x"} for row in rows]
    assert summary("b", answered_otherwise)["sets"]["s"]["questions_sha256"] == sets["s"]["questions_sha256"]
    assert summary("b", changed)["sets"]["s"]["questions_sha256"] != sets["s"]["questions_sha256"]


def test_a_report_is_written_with_equal_bytes_and_read_back(tmp_path: Path) -> None:
    rows = [record(0, 1.0), record(1, 0.0, answer="Ünïcode 你好")]
    for folder in (tmp_path / "a", tmp_path / "b"):
        assert write_report(folder, "base", rows) == read_json(folder / "base.json")
    for name in ("base.json", "base.parquet"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert read_records(tmp_path / "a/base.parquet") == rows
    assert write_report(tmp_path, "none", [])["sets"] == {}


def test_a_set_whose_records_do_not_stand_together_is_counted_whole() -> None:
    mixed = [record(n, float(n < 2), set=name) for n in range(4) for name in "ab"]
    assert [entry["items"] for entry in summary("merged", mixed)["sets"].values()] == [4, 4]
