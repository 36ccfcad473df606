"""Sampling, splitting, mixing, renaming, placeholders and question sets."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config.groups.data import Data
from components.data import collect_questions, collect_rows, resolve, row_store, write_questions, write_raw_rows
from components.data.media.origin import Origin
from components.data.mixing import interleaved, shuffled, split
from components.data.placeholders import filler
from components.data.row_store import RowStore, StoredRows
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
SEEDS = st.integers(0, 2**32)


def numbers(picked: StoredRows) -> list[int]:
    return [row for _, row, _ in picked]


@given(size=SIZES, wanted=st.none() | st.integers(1, 200), ratio=st.floats(0, 0.9), seed=SEEDS, shuffle=st.booleans())
def test_split_takes_what_is_wanted_and_never_the_same_row_for_both(size, wanted, ratio, seed, shuffle):
    train, val = (rows.tolist() for rows in split(size, wanted, ratio, seed, shuffle))
    assert len(train) + len(val) == (size if wanted is None else wanted)
    assert not set(train) & set(val)
    assert len(set(val)) == len(val)
    counts = [train.count(i) for i in set(train)]
    assert train and max(counts) - min(counts) <= 1
    assert len(train) < size - len(val) or set(train) | set(val) == set(range(size))
    assert [rows.tolist() for rows in split(size, wanted, ratio, seed, shuffle)] == [train, val]


def test_a_share_is_held_out():
    assert [len(rows) for rows in split(200, None, 0.05, 1)] == [190, 10]
    assert [len(rows) for rows in split(10, None, 0.001, 1)] == [9, 1]
    assert [rows.tolist() for rows in split(1, None, 0.5, 1)] == [[0], []]
    assert [rows.tolist() for rows in split(5, 4, 0.5, 1, shuffle=False)] == [[0, 1], [2, 3]]
    assert [rows.tolist() for rows in split(3, 5, 0.0, 1, shuffle=False)] == [[0, 1, 2, 0, 1], []]


def test_every_row_is_as_likely_to_be_taken():
    counts = np.zeros(20)
    for seed in range(2000):
        counts[split(20, 5, 0.0, seed)[0]] += 1
    assert np.abs(counts - 500).max() < 6 * np.sqrt(2000 * 0.25 * 0.75)


@given(size=st.integers(0, 100), seed=SEEDS)
def test_shuffled_is_a_permutation(size: int, seed: int):
    order = shuffled(np.arange(size), seed)
    assert sorted(order) == list(range(size))
    assert order.tolist() == shuffled(np.arange(size), seed).tolist()


@pytest.mark.parametrize("strategy", ["first_exhausted", "all_exhausted"])
@pytest.mark.parametrize("shares", [(0.7, 0.3), (0.1, 0.9), (0.2, 0.3, 0.5)])
def test_interleaving_draws_as_hugging_face_does(strategy: str, shares: tuple[float, ...]):
    from datasets import Dataset, interleave_datasets

    sizes, offsets = (900, 400, 70), (0, 1000, 2000)
    parts = [np.arange(size) + offset for size, offset in zip(sizes, offsets, strict=True)][: len(shares)]
    theirs = [Dataset.from_dict({"row": part}) for part in parts]
    for seed in (0, 42):
        expected = interleave_datasets(theirs, list(shares), seed=seed, stopping_strategy=strategy)["row"]
        assert interleaved(parts, shares, seed, strategy == "all_exhausted").tolist() == list(expected)


def test_shares_of_datasets(tmp_path: Path):
    specs = numbered(tmp_path, "a.jsonl", 900), numbered(tmp_path, "b.jsonl", 300)
    rows = [source for source, _, _ in collected(tmp_path, *specs, interleave_prob=[0.5, 0.5]).tables["train"]]
    assert rows.count("b.jsonl") == 300 and 200 < rows.count("a.jsonl") < 400
    settings = {"interleave_prob": [5, 5], "stopping_strategy": "all_exhausted"}
    rows = [source for source, _, _ in collected(tmp_path, *specs, **settings).tables["train"]]
    assert rows.count("a.jsonl") == 900 and 700 < rows.count("b.jsonl") < 1100
    with pytest.raises(ConfigError, match="1 shares for 2 training datasets"):
        collected(tmp_path, *specs, interleave_prob=[0.5])
    with pytest.raises(ConfigError, match="more than 0"):
        collected(tmp_path, *specs, interleave_prob=[1, 0])


def test_n_rows_are_the_same_ones_every_time_whatever_else_is_read(tmp_path: Path):
    numbered(tmp_path, "a.jsonl", 50), numbered(tmp_path, "b.jsonl", 50)
    alone = list(collected(tmp_path, "a.jsonl#7").tables["train"])
    mixed = list(collected(tmp_path, "b.jsonl#3", "a.jsonl#7").tables["train"])
    assert len(set(alone)) == 7
    assert sorted(row for row in mixed if row[0] == "a.jsonl#7") == sorted(alone)
    assert sorted(collected(tmp_path, "a.jsonl#7", data_seed=7).tables["train"]) != sorted(alone)
    assert {source for source, _, _ in mixed} == {"b.jsonl#3", "a.jsonl#7"}


def test_without_shuffling_the_first_rows_are_taken(tmp_path: Path):
    numbered(tmp_path, "a.jsonl", 50), numbered(tmp_path, "v.jsonl", 50)
    found = collected(tmp_path, "a.jsonl#7", val=("v.jsonl#5",), dataset_shuffle=False).tables
    assert numbers(found["train"]) == [1, 2, 3, 4, 5, 6, 7] and numbers(found["val"]) == [1, 2, 3, 4, 5]
    mixed = numbers(collected(tmp_path, "a.jsonl", val=("v.jsonl#5",), val_dataset_shuffle=True).tables["val"])
    assert len(mixed) == 5 and mixed != sorted(mixed)


def test_n_above_the_size_repeats(tmp_path: Path):
    numbered(tmp_path, "a.jsonl", 4)
    rows = numbers(collected(tmp_path, "a.jsonl#10").tables["train"])
    assert sorted(rows.count(i) for i in range(1, 5)) == [2, 2, 3, 3]


def test_shuffling_mixes_the_datasets_and_can_be_left_out(tmp_path: Path):
    numbered(tmp_path, "a.jsonl", 30), numbered(tmp_path, "b.jsonl", 30)
    plain = list(collected(tmp_path, "a.jsonl", "b.jsonl", dataset_shuffle=False).tables["train"])
    mixed = list(collected(tmp_path, "a.jsonl", "b.jsonl").tables["train"])
    assert [row for _, row, _ in plain] == [*range(1, 31), *range(1, 31)]
    assert mixed != plain and sorted(mixed) == sorted(plain)
    assert mixed == list(collected(tmp_path, "a.jsonl", "b.jsonl").tables["train"])


def test_a_validation_dataset_takes_the_place_of_a_split(tmp_path: Path):
    numbered(tmp_path, "a.jsonl", 20), numbered(tmp_path, "v.jsonl", 9)
    own = collected(tmp_path, "a.jsonl", val=("v.jsonl#5",), split_dataset_ratio=0.5).tables
    assert (len(own["train"]), len(own["val"])) == (20, 5)
    held = collected(tmp_path, "a.jsonl", split_dataset_ratio=0.5).tables
    assert (len(held["train"]), len(held["val"])) == (10, 10)
    assert sorted(numbers(held["train"]) + numbers(held["val"])) == list(range(1, 21))


@given(
    raws=st.lists(st.binary(min_size=1, max_size=30).map(lambda b: b.hex().encode()), min_size=1, max_size=30),
    data=st.data(),
)
def test_rows_come_back_from_the_disk_in_any_order(tmp_path_factory: pytest.TempPathFactory, raws, data):
    folder = tmp_path_factory.getbasetemp()
    spool = RowStore(folder)
    for number, raw in enumerate(raws):
        if number % 7 == 0:
            spool.begin(f"s{number}", Origin(folder))
        spool.append(number * 10, raw)
    order = data.draw(st.lists(st.integers(0, len(raws) - 1), max_size=40))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_store, "BATCH_MAX_BYTES", 50)
        found = list(StoredRows(spool, np.array(order, np.int64)))
    assert found == [(f"s{at - at % 7}", at * 10, raws[at].decode()) for at in order]


def test_what_is_written_has_equal_bytes_and_small_row_groups(tmp_path: Path):
    numbered(tmp_path, "a.jsonl", 10_000)
    for name in ("one.parquet", "two.parquet"):
        write_raw_rows(tmp_path / name, collected(tmp_path, "a.jsonl").tables["train"])
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    groups = pq.ParquetFile(tmp_path / "one.parquet").metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [4096, 4096, 1808]


def test_columns_are_renamed(tmp_path: Path):
    write(tmp_path, "a.jsonl", [{"q": "x", "r": "y", "z": 1}])
    ((_, _, raw),) = collected(tmp_path, "a.jsonl", columns={"q": "query", "r": "response"}).tables["train"]
    assert json.loads(raw) == {"query": "x", "response": "y", "z": 1}
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
    assert any(f"{{{{{placeholder}}}}}" in raw for _, _, raw in kept.tables["train"])


def test_a_row_of_escaped_chinese_gets_the_chinese_name(tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"query": "你是谁", "response": "{{NAME}}"}))
    ((_, _, raw),) = collected(tmp_path, "a.jsonl", model_name=["Ada", "小燕"]).tables["train"]
    assert json.loads(raw) == {"query": "你是谁", "response": "小燕"}


def test_an_empty_dataset(tmp_path: Path):
    for name, content in (("a.jsonl", ""), ("b.json", "[]"), ("c.csv", "query,response\n"), ("d.json", " ")):
        (tmp_path / name).write_text(content)
        with pytest.raises(DataGateError, match=f"{name}: the dataset is empty"):
            collected(tmp_path, name)


def asked(folder: Path, *specs: str, **data: Any) -> dict[str, list[Any]]:
    found = collect_questions(sources(folder, *specs), Data(**data), folder)
    for name, picked in found.tables.items():
        write_questions(folder / f"{name}.out", picked)
    return {name: list(map(json.loads, (folder / f"{name}.out").open())) for name in found.tables}


def test_question_sets(tmp_path: Path):
    write(tmp_path, "one.jsonl", [{"instruction": "{{NAME}}", "input": "x", "output": "y"}])
    numbered(tmp_path, "two.jsonl", 9)
    found = asked(tmp_path, "one.jsonl", "two.jsonl#4", model_name=["Ada"])
    assert found["one"] == [{"query": "Ada\nx", "response": "y"}]
    assert len(found["two"]) == 4


def test_questions_of_every_kind(tmp_path: Path):
    calls = [{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}]
    tools = [{"type": "function", "function": {"name": "add", "parameters": {}}}]
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    plain, reply = {"query": "a", "response": "b"}, {"role": "assistant", "content": "r"}
    choices = "q?\n\nA. x\nB. y\n\nAnswer with the letter of the right choice."
    chosen = {"query": choices, "response": "B", "columns": {"choices": ["x", "y"]}}
    pairs = [
        ({"query": "1 + 1", "response": 2}, {"query": "1 + 1", "response": "2"}),
        (plain | {"topic": "t", "x": None}, plain | {"columns": {"topic": "t"}}),
        ({"question": "q?", "choices": ["x", "y"], "answer": 1}, chosen),
        ({"question": "q?", "choices": ["x", "y"], "answer": "y"}, chosen),
        ({"question": "q?", "A": "x", "B": "y", "answer": "B"}, chosen),
        ({"question": "q?", "choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"}, chosen),
        (
            {"messages": [*chat, reply, *chat[1:], {"role": "assistant", "content": "z"}]},
            {"query": "q", "response": "z", "history": [*chat, reply]},
        ),
        (
            {"messages": [*chat[1:], {"role": "assistant", "content": "", "tool_calls": calls}], "tools": tools},
            {"query": "q", "response": '[{"name": "add", "arguments": {"a": 1}}]', "tools": tools,
             "columns": {"tool_calls": calls}},
        ),
        ({"query": "a", "tests": ["assert 1"]}, {"query": "a", "response": "", "columns": {"tests": ["assert 1"]}}),
    ]  # fmt: skip
    write(tmp_path, "q.jsonl", [row for row, _ in pairs])
    assert asked(tmp_path, "q.jsonl")["q"] == [question for _, question in pairs]


def test_a_preference_is_a_choice_whose_order_changes_from_row_to_row(tmp_path: Path):
    rows = [{"prompt": f"p{n}", "chosen": f"good{n}", "rejected": f"bad{n}"} for n in range(40)]
    questions = asked(tmp_path, write(tmp_path, "p.jsonl", rows))["p"]
    for n, question in enumerate(questions):
        right = "AB".index(question["response"])
        assert question["columns"]["choices"][right] == f"good{n}"
        assert f"{question['response']}: good{n}" in question["query"]
    assert 10 < sum(question["response"] == "A" for question in questions) < 30


def test_the_names_of_question_sets_fit_files_tables_and_metrics(tmp_path: Path):
    names = {
        "sums, 50% [v2]": "sums_50_v2",
        "größe 燕": "größe_燕",
        "x" * 200: "x" * 64,
        "v1 .part": "v1",
        "-q'\"": "q",
    }
    for name in names:
        write(tmp_path, f"{name}.jsonl", [{"query": "a", "response": "b"}])
    assert list(asked(tmp_path, *(f"{name}.jsonl" for name in names))) == [*names.values()]
    write(tmp_path, "%.jsonl", [{"query": "a", "response": "b"}])
    with pytest.raises(ConfigError, match=r"'%\.jsonl' gives its question set no name: rename it"):
        collect_questions(sources(tmp_path, "%.jsonl"), Data(), tmp_path)


QUESTIONS = {
    "no answer at all": ({"messages": [{"role": "user", "content": "a"}]}, "there is no answer to compare with"),
    "answer under a wrong name": (
        {"query": "a", "respnse": "b"},
        """if 'respnse' holds the answer, rename it with --columns '{"respnse": "response"}'""",
    ),
    "two answers in a row": (
        {"messages": [{"role": r, "content": r} for r in ("user", "assistant", "assistant")]},
        "ends with a question and its answer, not user, assistant",
    ),
    "a plain text": ({"text": "abc"}, "ends with a question and its answer, not nothing"),
    "null": ({"query": "a", "response": None}, "there is no answer to compare with"),
    "true": ({"query": "a", "response": True}, "'response' must be a text, not true or false"),
    "one choice": ({"question": "a", "choices": ["x"], "answer": "x"}, "column choices: a list of 2 to 10 choices"),
    "no such choice": ({"question": "a", "choices": ["x", "y"], "answer": "z"}, "'z' is none of the 2 choices"),
    "no such index": ({"question": "a", "choices": ["x", "y"], "answer": 2}, "'2' is none of the 2 choices"),
    "choices alone": ({"question": "a", "choices": ["x", "y"]}, "name the right choice in the column answer"),
    "unknown": ({"foo": 1}, "no known format: "),
    "no answer": ({"query": "a", "response": " "}, "the answer is empty"),
    "no question": ({"query": "", "response": "b"}, "the question is empty"),
}


@pytest.mark.parametrize(("row", "told"), QUESTIONS.values(), ids=QUESTIONS)
def test_a_bad_question_names_its_row(tmp_path: Path, row: dict[str, Any], told: str):
    write(tmp_path, "q.jsonl", [{"query": "a", "response": "b"}, row])
    with pytest.raises(DataGateError, match=rf"q\.jsonl:2: .*{re.escape(told)}"):
        asked(tmp_path, "q.jsonl")


def test_two_question_sets_of_one_name(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    numbered(tmp_path, "q.jsonl", 1)
    (tmp_path / "sub/q.json").write_text('[{"query": "a", "response": "b"}]')
    with pytest.raises(ConfigError, match="two question sets are called 'q'"):
        collect_questions(sources(tmp_path, "q.jsonl", "sub/q.json"), Data(), tmp_path)
