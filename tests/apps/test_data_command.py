"""`martlet data`: what a user types, and what stands on the screen, in the file, in the JSON."""

import json
from pathlib import Path

import pytest

from tests.commands import martlet

ROWS = [
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello 你好."}]},
    {"messages": [{"role": "user", "content": "a <|im_end|> b"}, {"role": "assistant", "content": "x"}]},
    {"instruction": "Say it", "input": "", "output": "it"},
    {"prompt": "Which?", "chosen": "This <b>one</b>.", "rejected": "That"},
    {"foo": 1},
    {"messages": [{"role": "user", "content": "w"}, {"role": "assistant", "content": "half", "loss_scale": 0.5}]},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "rows.jsonl", ROWS)
    return tmp_path


def write(path: Path, rows: list[dict]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def test_show_json_gives_one_object_a_row(folder: Path, tiny_model: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    shown = martlet(folder, "data", "show", "--model", tiny_model, "--dataset", "rows.jsonl", "--json")
    rows = [json.loads(line) for line in shown.splitlines()]
    assert [row["row"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[0]["supervised"] == ["Hello 你好.<|im_end|>"]
    assert rows[0]["input_ids"] == tokenizer.apply_chat_template(ROWS[0]["messages"], return_dict=False)
    for row in (rows[0], rows[2], rows[5], rows[3]["chosen"], rows[3]["rejected"]):
        assert tokenizer.decode([label for label in row["labels"] if label != -100]) == "".join(row["supervised"])
        assert row["lengths"] == [len(row["input_ids"])]
    assert "control token" in rows[1]["refused"]
    assert "foo" in rows[4]["refused"]
    assert (rows[3]["chosen"]["supervised"], rows[3]["rejected"]["supervised"]) == (
        ["This <b>one</b>.<|im_end|>"],
        ["That<|im_end|>"],
    )
    assert {w for w in rows[5]["loss_scale"] if w} == {0.5}


def test_show_prints_a_few_rows_and_writes_a_page_that_runs_nothing(folder: Path, tiny_model: Path) -> None:
    shown = martlet(folder, "data", "show", "--model", tiny_model, "--dataset", "rows.jsonl", "--rows", "2")
    assert "rows.jsonl:1: " in shown
    assert "Hello 你好.<|im_end|>" in shown
    assert "rows.jsonl:2: refused: " in shown
    assert "rows.jsonl:3" not in shown
    words = ["--dataset", "rows.jsonl", "--rows", "9", "--html", "page.html"]
    assert "6 rows" in martlet(folder, "data", "show", "--model", tiny_model, *words)
    page = (folder / "page.html").read_text()
    assert "<b>one" not in page
    assert "http" not in page
    assert page.count("<h2>") == 5
    for file, why in ((".", "it is a folder"), ("rows.jsonl/page.html", "rows.jsonl is no folder")):
        words = ["--dataset", "rows.jsonl", "--html", file]
        assert f"{file} cannot be written: {why}" in martlet(
            folder, "data", "show", "--model", tiny_model, *words, code=2
        )


def test_stats_counts_what_is_learned_by_source(folder: Path, tiny_model: Path) -> None:
    write(folder / "short.jsonl", [{"query": f"number {n}", "response": "yes"} for n in range(30)])
    write(folder / "long.jsonl", [{"query": f"number {n}", "response": "yes " * 30} for n in range(10)])
    words = ["data", "stats", "--model", tiny_model, "--per_device_train_batch_size", "8", "--max_length", "256"]
    words += ["--dataset", "short.jsonl", "long.jsonl"]
    found = json.loads(martlet(folder, *words, "--json", "--plot", "lengths.png"))
    assert (folder / "lengths.png").read_bytes().startswith(b"\x89PNG")
    samples = {name: counts["samples"] for name, counts in found["sources"].items()}
    assert samples == {"short.jsonl": 30, "long.jsonl": 10}
    share = {name: counts["learned"] / counts["tokens"] for name, counts in found["sources"].items()}
    assert share["short.jsonl"] < share["long.jsonl"] < 1
    padded, grouped, packed = found["fill"].values()
    assert padded < grouped < packed <= 1
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "tide", "arguments": {}}}]}
    called = [{"role": "user", "content": "Tide?"}, call, {"role": "tool", "content": "5"}]
    warned = {"messages": [*called, {"role": "assistant", "content": "5 m."}]}
    write(folder / "warned.jsonl", [warned, {"text": " "}])
    text = martlet(folder, *words, "warned.jsonl")
    # A call without declared tools is warned of only, though the check's action is to drop.
    left_out, warned_of = next(line for line in text.split("\n") if "left out: " in line).split("; warned of: ")
    assert left_out.endswith("left out: empty 1") and warned_of == "tools 1"
    assert "by source" in text
    assert "█" in text
    assert not list(folder.glob("output*"))


def test_diff_names_what_changed_whatever_the_format_and_the_order(folder: Path) -> None:
    write(folder / "old.jsonl", [{"query": f"q{n}", "response": f"a{n}"} for n in range(20)])
    new = [{"messages": [{"role": "user", "content": f"q{n}"}, {"role": "assistant", "content": f"a{n}"}]}
           for n in reversed(range(1, 20))]  # fmt: skip
    new[0]["messages"][1]["content"] = "another answer"
    write(folder / "new.jsonl", [*new, {"query": "more", "response": "rows"}, {"query": "q5", "response": "a5"}])
    found = json.loads(martlet(folder, "data", "diff", "old.jsonl", "new.jsonl", "--json"))
    assert found["rows"] == [20, 21]
    assert found["same"] == 18
    assert [(c["before"]["row"], c["after"]["row"]) for c in found["changed"]] == [(20, 1)]
    assert sorted(c["after"]["row"] for c in found["added"]) == [20, 21]
    assert [c["before"]["row"] for c in found["removed"]] == [1]
    text = martlet(folder, "data", "diff", "old.jsonl", "new.jsonl")
    assert "18 the same, 1 changed, 2 added, 1 removed" in text
    assert "changed old.jsonl:20 -> new.jsonl:1" in text


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["data", "show"], "--model is needed; --dataset is needed"),
        (["data", "diff", "one.jsonl"], "needs two datasets"),
        (["data", "show", "--model", "MODEL", "--dataset", "rows.jsonl", "--rows", "0"], "--rows: at least 1"),
        (["data", "show", "--model", "MODEL", "--dataset", "row.jsonl"], "did you mean 'rows.jsonl'?"),
        (["data", "look"], "invalid choice"),
        (["cache", "prune", "--unused_for", "-1"], "0 or more"),
    ],
)
def test_mistakes_are_told_in_a_line(folder: Path, tiny_model: Path, words: list[str], expected: str) -> None:
    told = martlet(folder, *(tiny_model if word == "MODEL" else word for word in words), code=2)
    assert expected in told
    assert told.count("\n") <= 2


def test_cache_shows_and_prunes_what_stats_left(
    folder: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MARTLET_CACHE", str(folder / "cache"))
    assert "nothing is kept" in martlet(folder, "cache")
    write(folder / "short.jsonl", [{"query": f"number {n}", "response": "yes"} for n in range(3)])
    for _ in range(2):
        martlet(folder, "data", "stats", "--model", tiny_model, "--dataset", "short.jsonl")
    shown = martlet(folder, "cache")
    assert "2 kept" in shown
    assert "template" in shown
    assert "2 left" in martlet(folder, "cache", "prune", "--unused_for", "1")
    assert "removed 2" in martlet(folder, "cache", "prune")
    assert not list((folder / "cache").glob("*/*"))


def test_diff_compares_rows_that_no_format_reads(folder: Path) -> None:
    deep = '{"query": "q", "response": "r", "tools": ' + "[" * 900 + "]" * 900 + "}\n"
    (folder / "deep.jsonl").write_text(deep + '{"query": "same", "response": "same"}\n')
    write(folder / "plain.jsonl", [{"query": "same", "response": "same"}])
    told = martlet(folder, "data", "diff", "deep.jsonl", "plain.jsonl")
    assert "1 the same, 0 changed, 0 added, 1 removed" in told


def test_a_closed_gate_leaves_its_report_where_it_says(folder: Path, tiny_model: Path) -> None:
    write(folder / "bad.jsonl", [{"query": "q", "response": ""}])
    said = martlet(folder, "data", "stats", "--model", tiny_model, "--dataset", "bad.jsonl", code=3)
    assert f"see {folder}/.martlet/data.html" in said
    assert "empty" in (folder / ".martlet/data.html").read_text()
    assert not (folder / "data-report.html").exists()


def test_rows_in_no_format_are_told_when_they_are_not_to_close_the_gate(folder: Path, tiny_model: Path) -> None:
    write(folder / "some.jsonl", [{"query": f"q{n}", "response": "r"} for n in range(4)] + [{"foo": 1}])
    for action in ("ignore", "warn", "drop"):
        words = ["--model", tiny_model, "--dataset", "some.jsonl", "--on_schema", action]
        assert "left out: schema 1" in martlet(folder, "data", "stats", *words)


def test_show_has_a_picture_in_few_words(folder: Path, sighted_model: Path) -> None:
    from PIL import Image

    Image.new("RGB", (448, 448), "red").save(folder / "red.png")
    messages = [{"role": "user", "content": "<image>Which?"}, {"role": "assistant", "content": "Red."}]
    write(folder / "pictures.jsonl", [{"messages": messages, "images": [name]} for name in ("red.png", "none.png")])
    words = ["data", "show", "--model", sighted_model, "--dataset", "pictures.jsonl"]
    shown = martlet(folder, *words)
    assert "<|vision|><|image|>×4<|/vision|>" in shown
    assert "Red." in shown
    assert "pictures.jsonl:2: refused: none.png: no such file" in shown
    row = json.loads(martlet(folder, *words, "--json").splitlines()[0])
    assert len(row["input_ids"]) == len(row["labels"]) > 4
