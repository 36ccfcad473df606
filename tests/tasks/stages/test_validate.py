"""validate, as a user runs it: the gate opens with clean rows or closes with exit 3, and the report names every row."""

import json
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from components import data, rows
from components.config import Params
from components.errors import DataGateError
from tasks.stages import runner, validate
from tasks.stages.paths import Paths
from tests.components.data.gates import table

GOOD = [{"query": f"question {i}", "response": f"answer {i}"} for i in range(6)]
VAL = [{"query": "v", "response": "w"}]


def put(root: Path, train: Sequence[Any], val: Sequence[Any] = (), questions: Sequence[str] = ()) -> None:
    """Leave what fetch would."""
    for split, raw in (("train", train), ("val", val)):
        if raw:
            (root / "data/raw").mkdir(parents=True, exist_ok=True)
            pq.write_table(table(*(json.dumps(row) for row in raw)), root / f"data/raw/{split}.parquet")
    (root / "data/eval").mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"query": query, "response": "x"}) + "\n" for query in questions]
    (root / "data/eval/set.jsonl").write_text("".join(lines))


def run(root: Path, **validation: Any) -> dict[str, Any]:
    return runner.run("validate", validate.run, Params.model_validate({"validation": validation}), Paths(root, root))


def report(root: Path) -> dict[str, Any]:
    return json.loads((root / "reports/data.json").read_text())


def test_clean_rows_in_the_canonical_columns(tmp_path: Path):
    put(
        tmp_path,
        [*GOOD, {"instruction": "i", "input": "x", "output": "o", "system": "s"}],
        [{"query": "v", "response": "w"}],
    )
    assert run(tmp_path) == {"train": 7, "val": 1, "dropped": 0}
    clean = pq.read_table(tmp_path / "data/clean/train.parquet")
    assert clean.schema.equals(rows.schema())
    assert rows.from_arrow(clean.to_batches()[0])[6] == {
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "i\nx"},
            {"role": "assistant", "content": "o"},
        ]
    }
    assert (clean["source"][6].as_py(), clean["row"][6].as_py()) == ("a.jsonl", 7)
    assert report(tmp_path)["rows"] == {"train": 7, "val": 1, "dropped": 0}
    assert pq.read_table(tmp_path / "data/clean/val.parquet").num_rows == 1


def test_every_row_left_out_is_named(tmp_path: Path):
    put(
        tmp_path,
        [*GOOD, {"query": "q", "response": ""}, GOOD[0], {"query": "asked", "response": "x"}],
        questions=["asked"],
    )
    assert run(tmp_path) == {"train": 6, "val": 0, "dropped": 3}
    assert [(r["source"], r["row"], r["check"]) for r in report(tmp_path)["rejected"]] == [
        ("a.jsonl", 7, "empty"),
        ("a.jsonl", 8, "duplicate"),
        ("a.jsonl", 9, "leak"),
    ]
    assert not (tmp_path / "data/clean/val.parquet").exists()


FAULTS = {
    "schema": {"foo": "bar"},
    "roles": {"messages": [{"role": role, "content": "q"} for role in ("user", "user", "assistant")]},
    "empty": {"query": "q", "response": " "},
    "duplicate": GOOD[2],
    "leak": {"query": "asked", "response": "x"},
    "long": {"query": "q" * 200, "response": "x"},
}


@pytest.mark.parametrize("check", FAULTS)
def test_a_planted_fault_closes_the_gate(tmp_path: Path, check: str):
    put(tmp_path, [*GOOD, FAULTS[check]], questions=["asked"])
    (tmp_path / "data/clean").mkdir()
    (tmp_path / "data/clean/train.parquet").write_text("of an earlier run")
    with pytest.raises(
        DataGateError, match=rf"the data gate closed: {check}: 1 row, first a\.jsonl:7: .*data\.html"
    ) as error:
        run(tmp_path, max_chars=100, **{f"on_{check}": "block"})
    assert error.value.exit_code == 3 and "\n" not in str(error.value)
    assert [c["name"] for c in report(tmp_path)["checks"] if c["closed"]] == [check]
    assert "The data gate is closed" in (tmp_path / "reports/data.html").read_text()
    assert not (tmp_path / "data/clean").exists()


@pytest.mark.parametrize(("limit", "told"), [({"min_rows": 7}, "min_rows"), ({"max_dropped": 0.1}, "max_dropped")])
def test_limits_close_the_gate(tmp_path: Path, limit: dict[str, Any], told: str):
    put(tmp_path, [*GOOD, GOOD[0]])
    with pytest.raises(DataGateError, match=told):
        run(tmp_path, **limit)


def test_equal_rows_give_equal_bytes(tmp_path: Path):
    roots = [tmp_path / "one", tmp_path / "two"]
    for root in roots:
        put(root, [*GOOD, GOOD[0], {"query": "é燕", "response": "🙂"}])
        run(root)
    for name in ("reports/data.json", "reports/data.html", "data/clean/train.parquet", "data/clean/manifest.json"):
        assert (roots[0] / name).read_bytes() == (roots[1] / name).read_bytes()


class Page(HTMLParser):
    """The tags of a page, what it would load, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loads: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loads += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_self_contained_and_escapes_rows(tmp_path: Path):
    attack = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    put(tmp_path, [*GOOD, {"query": attack, "response": attack}, {"query": attack, "response": ""}, {attack: attack}])
    run(tmp_path, on_schema="drop")
    page = Page((tmp_path / "reports/data.html").read_text("utf-8"))
    assert not page.loads and not {"script", "img", "link", "iframe"} & set(page.tags)
    assert page.text.count("<script>alert(1)</script>") >= 4
    for heading in ("The data gate is open", "Checks", "Rows by source", "Length of the clean rows", "Rows left out"):
        assert heading in page.text
    assert "a.jsonl:8" in page.text and "url(" not in (tmp_path / "reports/data.html").read_text("utf-8")


def test_a_forged_turn_is_seen_through_the_tokenizer_of_the_model(tmp_path: Path):
    put(tmp_path, [*GOOD, {"query": "q", "response": "a<|end|>"}])
    (tmp_path / "model").mkdir()
    (tmp_path / "model/tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>"}))
    (tmp_path / "data/model.json").write_text(json.dumps({"model": "model", "source": "local"}))
    assert run(tmp_path) == {"train": 6, "val": 0, "dropped": 1}
    assert report(tmp_path)["rejected"][0]["reason"] == "holds the special token <|end|> as text"
    assert "a<mark>&lt;|end|&gt;</mark>" in (tmp_path / "reports/data.html").read_text()
    assert run(tmp_path, on_special="ignore")["dropped"] == 0


def test_no_secret_is_repeated_in_a_report(tmp_path: Path):
    secret = "ghp_" + "s3cretS3CRET" * 4
    rows = [{"query": f"{i} {secret} jane@acme.io", "response": answer} for i, answer in enumerate(["x", "", "y"])]
    put(tmp_path, [*rows, {"query": 1, "note": secret}, *GOOD])
    with pytest.raises(DataGateError) as error:
        run(tmp_path)
    told = (
        str(error.value) + (tmp_path / "reports/data.json").read_text() + (tmp_path / "reports/data.html").read_text()
    )
    assert "s3cret" not in told and "jane" not in told and "gh•••" in told


def test_nothing_but_the_outputs_is_left(tmp_path: Path):
    put(tmp_path, GOOD)
    run(tmp_path)
    with pytest.raises(DataGateError):
        run(tmp_path, min_rows=9)
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"raw", "eval"}


def test_a_page_with_thousands_of_findings_stays_small(tmp_path: Path):
    put(tmp_path, GOOD + [{"query": "", "response": "x"}] * 3000 + [FAULTS["roles"]])
    run(tmp_path, max_dropped=1)
    page = (tmp_path / "reports/data.html").read_text()
    assert len(page) < 60_000 and "of 3,001 findings; data.json beside this page names all of them" in page
    assert "turn 2 is by the user" in page and len(report(tmp_path)["rejected"]) == 3001


def test_expectations_hold_on_clean_rows_and_name_each_check(tmp_path: Path):
    put(tmp_path, [*GOOD, GOOD[0], {"query": "", "response": "x"}], VAL)
    run(tmp_path, data_docs=True, on_personal="block")
    expectations = report(tmp_path)["expectations"]
    assert all(e["success"] for e in expectations)
    promised = {e["name"].partition(":")[0] for e in expectations if ":" in e["name"]}
    media = {"media_missing", "media_unreadable", "media_count", "boxes"}
    assert promised == {"schema", "roles", "empty", "special", "tools", "duplicate", "leak", "personal"} | media
    docs = tmp_path / "logs/validate/data_docs"
    (page,) = docs.glob("validations/**/*.html")
    assert (docs / "index.html").exists() and "empty: No question, no answer" in page.read_text()
    assert "empty: No question, no answer" in (tmp_path / "reports/data.html").read_text()


def test_a_failed_expectation_closes_the_gate(tmp_path: Path):
    put(tmp_path, [*GOOD, {"query": "", "response": "x"}, GOOD[0]], VAL)
    (tmp_path / "spool").mkdir()
    verdict = data.run_gate(tmp_path / "data/raw", tmp_path / "spool", {}, Params().validation)
    verdict.row_index.clean[:] = True  # as if the gate had let them through
    data.check_expectations(verdict, tmp_path / "docs")
    (reason,) = verdict.reasons
    assert reason.count("does not hold") == 2 and "'empty: No question" in reason and "'duplicate: " in reason
    assert "1 of 9 rows differ, such as 'the question is empty'" in reason


def test_what_is_slow_to_import_is_left_alone(tmp_path: Path):
    put(tmp_path, GOOD, VAL, ["asked"])
    slow = "pandas torch transformers great_expectations mlflow datasets"
    script = "import sys; from tasks.stages import validate; from components.config import Params\n"
    script += "from tasks.stages.paths import Paths; from pathlib import Path\n"
    script += f"validate.run(Params(), Paths.here()); print([m for m in '{slow}'.split() if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_as_a_command(tmp_path: Path):
    put(tmp_path, [*GOOD, {"query": 5, "response": "x"}])
    (tmp_path / "params.yaml").write_text("validation: {on_schema: block}\n")
    done = subprocess.run(
        [sys.executable, "-m", "tasks.stages.validate"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 3 and len(done.stderr.splitlines()) == 1
    assert "first a.jsonl:7: 'query' must be a text, not a number (5)" in done.stderr
