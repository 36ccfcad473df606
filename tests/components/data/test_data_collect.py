"""Specs, sampling, splitting, mixing, placeholders and question sets."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config.groups.data import Data
from components.data import collect_questions, collect_rows, inputs_sha256, resolve
from components.data.mixing import shuffled, split
from components.data.placeholders import filler
from components.errors import ConfigError, DataGateError


def write(folder: Path, name: str, rows: list[dict[str, Any]]) -> str:
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return name


def numbered(folder: Path, name: str, size: int) -> str:
    return write(folder, name, [{"query": f"{name} {i}", "response": "r"} for i in range(1, size + 1)])


def sources(folder: Path, *specs: str):
    return resolve(specs, folder, False, {}, folder / "memo.json")


def collected(folder: Path, *specs: str, val: tuple[str, ...] = (), **data: Any):
    return collect_rows(sources(folder, *specs), sources(folder, *val), Data(**data), folder)


SIZES = st.integers(1, 60)


@given(size=SIZES, wanted=st.none() | st.integers(1, 200), ratio=st.floats(0, 0.9), seed=st.integers())
def test_split_takes_what_is_wanted_and_never_the_same_row_for_both(size, wanted, ratio, seed):
    train, val = split(size, wanted, ratio, seed)
    assert len(train) + len(val) == (size if wanted is None else wanted)
    assert not set(train) & set(val)
    assert len(set(val)) == len(val)
    counts = [train.count(i) for i in range(size) if i not in val]
    assert train and max(counts) - min(counts) <= 1
    assert split(size, wanted, ratio, seed) == (train, val)


def test_a_share_is_held_out():
    assert [len(rows) for rows in split(200, None, 0.05, 1)] == [190, 10]
    assert [len(rows) for rows in split(10, None, 0.001, 1)] == [9, 1]
    assert split(1, None, 0.5, 1) == ([0], [])


@given(size=st.integers(0, 100), seed=st.integers())
def test_shuffled_is_a_permutation(size: int, seed: int):
    assert sorted(shuffled(size, seed)) == list(range(size))


def test_n_rows_are_the_same_ones_every_time_whatever_else_is_read(tmp_path: Path):
    numbered(tmp_path, "a.jsonl", 50), numbered(tmp_path, "b.jsonl", 50)
    alone = collected(tmp_path, "a.jsonl#7", dataset_shuffle=False).tables["train"]
    mixed = collected(tmp_path, "b.jsonl#3", "a.jsonl#7", dataset_shuffle=False).tables["train"]
    assert len(set(alone.row)) == 7 and alone.row == sorted(alone.row)
    assert mixed.row[3:] == alone.row and mixed.raw[3:] == alone.raw
    assert collected(tmp_path, "a.jsonl#7", data_seed=7, dataset_shuffle=False).tables["train"].row != alone.row
    assert set(mixed.source) == {"b.jsonl#3", "a.jsonl#7"}


def test_n_above_the_size_repeats(tmp_path: Path):
    numbered(tmp_path, "a.jsonl", 4)
    rows = collected(tmp_path, "a.jsonl#10").tables["train"].row
    assert sorted(rows.count(i) for i in range(1, 5)) == [2, 2, 3, 3]


def test_shuffling_mixes_the_datasets_and_can_be_left_out(tmp_path: Path):
    numbered(tmp_path, "a.jsonl", 30), numbered(tmp_path, "b.jsonl", 30)
    plain = collected(tmp_path, "a.jsonl", "b.jsonl", dataset_shuffle=False).tables["train"]
    mixed = collected(tmp_path, "a.jsonl", "b.jsonl").tables["train"]
    assert plain.row == [*range(1, 31), *range(1, 31)]
    assert mixed != plain and sorted(mixed.raw) == sorted(plain.raw)
    assert mixed == collected(tmp_path, "a.jsonl", "b.jsonl").tables["train"]


def test_a_validation_dataset_takes_the_place_of_a_split(tmp_path: Path):
    numbered(tmp_path, "a.jsonl", 20), numbered(tmp_path, "v.jsonl", 9)
    own = collected(tmp_path, "a.jsonl", val=("v.jsonl#5",), split_dataset_ratio=0.5).tables
    assert (len(own["train"].row), len(own["val"].row)) == (20, 5)
    held = collected(tmp_path, "a.jsonl", split_dataset_ratio=0.5).tables
    assert (len(held["train"].row), len(held["val"].row)) == (10, 10)
    assert sorted(held["train"].row + held["val"].row) == list(range(1, 21))


def test_columns_are_renamed(tmp_path: Path):
    write(tmp_path, "a.jsonl", [{"q": "x", "r": "y", "z": 1}])
    table = collected(tmp_path, "a.jsonl", columns={"q": "query", "r": "response"}).tables["train"]
    assert json.loads(table.raw[0]) == {"query": "x", "response": "y", "z": 1}
    with pytest.raises(ConfigError, match=r"no dataset has a column 'qq' \(did you mean 'q'\?\)"):
        collected(tmp_path, "a.jsonl", columns={"qq": "query"})


@pytest.mark.parametrize(
    ("names", "english", "chinese"),
    [
        (["Ada"], "Ada", "Ada"),
        (["Ada", "小燕"], "Ada", "小燕"),
        (["小燕", "Ada"], "Ada", "小燕"),
        (["A", "B"], "A", "B"),
    ],
)
def test_placeholders_by_language(names: list[str], english: str, chinese: str):
    fill = filler(names, ["x"])
    assert fill('{"query":"who?","response":"{{NAME}}, {{name}} by {{AUTHOR}}"}', "a:1") == (
        f'{{"query":"who?","response":"{english}, {english} by x"}}'
    )
    assert fill('{"query":"你是谁","response":"{{NAME}}"}', "a:1") == f'{{"query":"你是谁","response":"{chinese}"}}'


def test_a_filled_row_is_still_json():
    name = 'Ada "the\\first"\n'
    filled = filler([name], [])('{"response":"{{NAME}}"}', "a:1")
    assert json.loads(filled) == {"response": name}


@pytest.mark.parametrize("placeholder", ["NAME", "AUTHOR", "name", "author"])
def test_a_placeholder_without_a_value_names_the_row_and_the_flag(tmp_path: Path, placeholder: str):
    write(tmp_path, "a.jsonl", [{"query": "x", "response": "y"}, {"query": "x", "response": f"{{{{{placeholder}}}}}"}])
    with pytest.raises(ConfigError, match=rf"a\.jsonl:2: .*--model_{placeholder.lower()}"):
        collected(tmp_path, "a.jsonl")
    kept = collected(tmp_path, "a.jsonl", **{f"model_{placeholder.lower()}": [f"{{{{{placeholder}}}}}"]})
    assert any(f"{{{{{placeholder}}}}}" in raw for raw in kept.tables["train"].raw)


SPECS = {
    "missing": ("trian.jsonl", r"no such file \(did you mean 'train.jsonl'\?\)"),
    "missing below a folder": ("sub/x", "no such file"),
    "missing absolute": ("/nowhere/x.json", "no such file"),
    "unread kind": ("notes.txt", "not a kind of file that is read"),
    "missing of an unread kind": ("gone.tsv", "no such file"),
    "a folder": ("sub", "is a folder; name the file in it, such as one.json"),
    "no rows": ("train.jsonl#0", "at least 1"),
    "neither": ("what is this", "neither a file that exists nor a hub id"),
    "empty": ("", "is a folder"),
    "letters for a number": ("owner/name#many", "neither"),
    "url": ("https://example.org/x", "neither"),
}


@pytest.mark.parametrize(("spec", "told"), SPECS.values(), ids=SPECS)
def test_a_wrong_spec_is_explained(tmp_path: Path, spec: str, told: str):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/one.json").write_text("[]")
    (tmp_path / "notes.txt").write_text("x")
    numbered(tmp_path, "train.jsonl", 1)
    with pytest.raises(ConfigError, match=told):
        sources(tmp_path, spec)


def test_a_file_with_a_hash_in_its_name(tmp_path: Path):
    numbered(tmp_path, "a.jsonl#3", 2)
    (tmp_path / "a.jsonl#3").rename(tmp_path / "v#3.jsonl")
    (source,) = sources(tmp_path, "v#3.jsonl#1")
    assert (source.name, source.rows, source.hub) == ("v#3.jsonl", 1, None)


def test_hub_ids_keep_the_commit_they_were_resolved_to(tmp_path: Path):
    new, known = resolve(["o/new#5", "o/known"], tmp_path, True, {"huggingface:o/known": "c0ffee"}, tmp_path / "m")
    assert (new.hub, new.version, new.rows) == ("huggingface", None, 5)
    assert known.version == "c0ffee"
    assert inputs_sha256([new, known], {}) is None


def test_inputs_change_with_bytes_and_parameters(tmp_path: Path):
    numbered(tmp_path, "a.jsonl", 2)
    before = inputs_sha256(sources(tmp_path, "a.jsonl"), {"seed": 1})
    assert before == inputs_sha256(sources(tmp_path, "a.jsonl"), {"seed": 1})
    assert before != inputs_sha256(sources(tmp_path, "a.jsonl"), {"seed": 2})
    numbered(tmp_path, "a.jsonl", 3)
    assert before != inputs_sha256(sources(tmp_path, "a.jsonl"), {"seed": 1})


def test_an_empty_dataset(tmp_path: Path):
    for name, content in (("a.jsonl", ""), ("b.json", "[]"), ("c.csv", "query,response\n"), ("d.json", " ")):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataGateError, match=f"{name}: the dataset is empty"):
            collected(tmp_path, name)


def test_question_sets(tmp_path: Path):
    write(tmp_path, "one.jsonl", [{"instruction": "{{NAME}}", "input": "x", "output": "y", "level": 3}])
    numbered(tmp_path, "two.jsonl", 9)
    found = collect_questions(sources(tmp_path, "one.jsonl", "two.jsonl#4"), Data(model_name=["Ada"]), tmp_path)
    assert [json.loads(raw) for raw in found.tables["one"].raw] == [{"query": "Ada\nx", "response": "y"}]
    assert len(found.tables["two"].raw) == 4


QUESTIONS = {
    "two turns": ({"messages": [{"role": "user", "content": "a"}]}, "one question and its answer, not user"),
    "a system": ({"query": "a", "response": "b", "system": "s"}, "not system, user, assistant"),
    "unknown": ({"foo": 1}, "no known format: its keys are foo"),
    "no answer": ({"query": "a", "response": " "}, "the answer is empty"),
    "no question": ({"query": "", "response": "b"}, "the question is empty"),
}


@pytest.mark.parametrize(("row", "told"), QUESTIONS.values(), ids=QUESTIONS)
def test_a_bad_question_names_its_row(tmp_path: Path, row: dict[str, Any], told: str):
    write(tmp_path, "q.jsonl", [{"query": "a", "response": "b"}, row])
    with pytest.raises(DataGateError, match=rf"q\.jsonl:2: .*{told}"):
        collect_questions(sources(tmp_path, "q.jsonl"), Data(), tmp_path)


def test_two_question_sets_of_one_name(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    numbered(tmp_path, "q.jsonl", 1)
    (tmp_path / "sub/q.json").write_text('[{"query": "a", "response": "b"}]')
    with pytest.raises(ConfigError, match="two question sets are called 'q'"):
        collect_questions(sources(tmp_path, "q.jsonl", "sub/q.json"), Data(), tmp_path)
