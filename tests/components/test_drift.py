"""Drift of rows, with numbers that are computed by hand."""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.drift import compare, write_profile, write_report


def profile(folder: Path, *rows: dict[str, Any], source: str = "a.jsonl", held_out: int = 0) -> Path:
    """The profile of rows that were fetched into `folder`, the first `held_out` of them for validation."""
    folder.mkdir()
    lines = [{"source": row.get("from", source), "row": n, "raw": json.dumps(row)} for n, row in enumerate(rows)]
    pq.write_table(pa.Table.from_pylist(lines[held_out:]), folder / "train.parquet")
    if held_out:
        pq.write_table(pa.Table.from_pylist(lines[:held_out]), folder / "val.parquet")
    write_profile(folder, folder / "profile.parquet")
    return folder / "profile.parquet"


def test_equal_rows_have_no_drift_whatever_the_order_of_their_columns(tmp_path: Path) -> None:
    before = profile(tmp_path / "before", {"query": "Hi", "response": "Hello"})
    now = profile(tmp_path / "now", {"response": "Hello", "query": "Hi"})
    report = compare(before, now)
    assert report["change"] == "none"
    assert (report["lengths"]["psi"], report["sources"]["psi"], report["topics"]) == (0, 0, None)
    assert report["repeats"] == {"kept": 1, "new": 0, "gone": 0, "duplicates": 0}
    assert report["lengths"]["quantiles"]["50%"] == [7, 7]


def test_shares_of_sources_and_topics_are_compared_by_the_population_stability_index(tmp_path: Path) -> None:
    rows = [{"query": str(n), "topic": "one" if n < 8 else "two", "from": f"{n % 2}.jsonl"} for n in range(10)]
    later = [row | {"topic": "two" if row["topic"] == "one" else "one"} for row in rows]
    report = compare(profile(tmp_path / "before", *rows), profile(tmp_path / "now", *later))
    by_hand = (0.2 - 0.8) * math.log(0.2 / 0.8) + (0.8 - 0.2) * math.log(0.8 / 0.2)
    assert report["topics"]["psi"] == pytest.approx(by_hand, abs=1e-4)
    assert report["topics"]["shares"][0] == {"name": "two", "before": 0.2, "now": 0.8}
    assert report["sources"]["psi"] == 0
    assert report["change"] == "large"
    assert report["repeats"] == {"kept": 0, "new": 10, "gone": 10, "duplicates": 0}


@pytest.mark.parametrize(("replaced", "change"), [(0, "none"), (5, "small"), (10, "moderate"), (30, "large")])
def test_other_rows_of_the_same_lengths_are_a_change(tmp_path: Path, replaced: int, change: str) -> None:
    rows = [{"query": f"{n:03}"} for n in range(100)]
    later = rows[replaced:] + [{"query": f"{n:03}"} for n in range(100, 100 + replaced)]
    report = compare(profile(tmp_path / "before", *rows), profile(tmp_path / "now", *later))
    assert (report["lengths"]["psi"], report["repeats"]["new"], report["change"]) == (0, replaced, change)


def test_a_row_that_moves_between_training_and_validation_is_not_new(tmp_path: Path) -> None:
    rows = [{"query": str(n)} for n in range(10)]
    before = profile(tmp_path / "before", *rows, held_out=2)
    now = profile(tmp_path / "now", *reversed(rows), held_out=3)
    report = compare(before, now)
    assert (report["change"], report["rows"]) == ("none", {"before": 10, "now": 10})


def test_longer_rows_are_found_by_kolmogorov_and_smirnov(tmp_path: Path) -> None:
    before = profile(tmp_path / "before", *({"text": "x" * (10 + n % 5)} for n in range(100)))
    longer = profile(tmp_path / "longer", *({"text": "x" * (12 + n % 5)} for n in range(100)))
    lengths = compare(before, longer)["lengths"]
    assert lengths["ks"]["statistic"] == pytest.approx(0.4)  # of five lengths two are below all of the new ones
    assert lengths["ks"]["p"] < 1e-6
    assert sum(part["before"] for part in lengths["bins"]) == pytest.approx(1)
    assert sum(part["now"] for part in lengths["bins"]) == pytest.approx(1)
    assert lengths["psi"] > 0.25


def test_one_row_and_rows_without_texts_have_a_report(tmp_path: Path) -> None:
    one, two = profile(tmp_path / "one", {"label": 1}), profile(tmp_path / "two", {"label": 1}, {"label": 1})
    report = compare(one, two)
    assert (report["change"], report["repeats"]["duplicates"]) == ("none", 1)
    assert report["lengths"]["quantiles"]["100%"] == [0, 0]


def test_the_page_needs_no_other_file_and_names_are_escaped(tmp_path: Path) -> None:
    before = profile(tmp_path / "before", {"query": "a", "topic": "<script>"}, source="<b>.jsonl")
    now = profile(tmp_path / "now", {"query": "a" * 99, "topic": "new"})
    write_report(tmp_path, compare(before, now) | {"base": "those of the champion, version 7"})
    page = (tmp_path / "drift.html").read_text()
    assert "A large change" in page and "against those of the champion, version 7." in page
    assert "(100 %)" in page and "from 10 % of new or gone rows on" in page and "25 % or 0.25 on" in page
    assert "&lt;script&gt;" in page and "<script" not in page and "&lt;b&gt;" in page
    assert "http" not in page
    assert json.loads((tmp_path / "drift.json").read_text())["rows"] == {"before": 1, "now": 1}
