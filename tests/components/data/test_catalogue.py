"""The built-in datasets: their facts, finding them, their subsets, and that finding one is quick."""

import ast
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data import catalogue
from components.data.catalogue import entries, find, names, search, tasks
from components.data.entry import Entry
from components.errors import ConfigError

FOLDER = Path(catalogue.__file__).parent


def known(name: str) -> Entry:
    entry = find(name)
    assert entry is not None, name
    return entry


def functions() -> set[str]:
    """Every public function of the converters that takes a row, as entries name them."""
    found = set()
    for file in (FOLDER / "converters").glob("[a-z]*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and [argument.arg for argument in node.args.args] == ["raw"]:
                found |= set() if node.name.startswith("_") else {f"{file.stem}.{node.name}"}
    return found


def test_there_are_many_and_none_twice() -> None:
    assert len(entries()) >= 180
    for hub in ("modelscope", "huggingface"):
        ids = Counter(getattr(entry, hub).lower() for entry in entries() if getattr(entry, hub))
        assert max(ids.values()) == 1, ids.most_common(3)
    assert tasks() == ["dpo", "grpo", "kto", "multimodal", "pt", "reranker", "sft"]


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)
def test_an_entry_is_whole(entry: Entry) -> None:
    assert entry.modelscope or entry.huggingface
    assert entry.tags and all(tag == tag.strip().lower() for tag in entry.tags)
    assert entry.rows is None or entry.rows > 0
    assert ("huge" in entry.tags) <= (entry.rows is None)
    assert all(isinstance(name, str) for name in entry.subsets)
    assert entry.differing.keys() <= set(entry.subsets)
    for part in entry.parts(entry.subsets):
        assert isinstance(part, Entry)
    assert entry.converter is None or entry.converter in functions()


def test_every_converter_is_used_and_there() -> None:
    used = {part.converter for entry in entries() for part in [entry, *entry.parts(entry.subsets)] if part.converter}
    assert used == functions()
    for name in used:
        module, _, function = str(name).partition(".")
        assert callable(getattr(import_module(f"components.data.catalogue.converters.{module}"), function))


@given(st.sampled_from(names()), st.randoms())
def test_ids_are_found_on_both_hubs_whatever_their_case(name: str, random) -> None:
    written = "".join(random.choice((letter.lower(), letter.upper())) for letter in name)
    entry = find(written)
    assert entry and name in (entry.modelscope, entry.huggingface)


def test_short_names_are_found_where_one_dataset_is_so_called() -> None:
    assert known("self-cognition").name == "swift/self-cognition"
    assert known("alpaca-gpt4").name == "AI-ModelScope/alpaca-gpt4-data-en"
    assert find("nobody/has-this") is None
    assert find("alpaca_en_demo.json") is None


def test_the_seed_example_is_known() -> None:
    for name, rows in (
        ("AI-ModelScope/alpaca-gpt4-data-zh", 48_818),
        ("AI-ModelScope/alpaca-gpt4-data-en", 52_002),
        ("swift/self-cognition", 108),
    ):
        assert (known(name).rows, known(name).task) == (rows, "sft")


def test_searching_needs_every_word() -> None:
    assert [entry.name for entry in search(["LAW", "disc"])] == ["AI-ModelScope/DISC-Law-SFT"]
    assert {entry.task for entry in search([], "dpo")} == {"dpo"}
    assert len(search([])) == len(entries())
    assert "LLM-Research/xlam-function-calling-60k" in [entry.name for entry in search(["xlam"], "grpo")]
    assert search(["no such thing"]) == []


def test_default_subsets() -> None:
    assert known("swift/self-cognition").default_subsets == ("default",)
    assert known("modelscope/gsm8k").default_subsets == ("main",)
    assert known("swift/sharegpt").default_subsets == ()


def test_parts_are_what_to_ask_the_hub_for() -> None:
    entry = known("swift/self-cognition")
    assert [part.subsets for part in entry.parts()] == [("default",)]
    qwen3, plain = entry.parts(["qwen3", "default"])
    assert (qwen3.subsets, qwen3.converter) == (("default",), "texts.self_cognition_qwen3")
    assert (plain.subsets, plain.converter) == (("default",), None)
    assert [part.subsets for part in known("swift/sharegpt").parts(["common-zh", "common-en"])] == [
        ("common-zh",),
        ("common-en",),
    ]
    assert [part.split for part in known("swift/pixelprose").parts(["cc12m", "redcaps"])] == ["cc12m", "redcaps"]
    assert known("AI-ModelScope/alpaca-cleaned").parts() == [known("AI-ModelScope/alpaca-cleaned")]
    assert known("AI-ModelScope/alpaca-cleaned").parts(["new"])[0].subsets == ("new",)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("swift/sharegpt", [("common-zh", "train"), ("unknow-zh", "train"), ("common-en", "train")]),
        ("swift/self-cognition", [("default", "train")]),
        ("swift/pixelprose", [("default", split) for split in ("train", "cc12m", "commonpool", "redcaps")]),
        ("swift/GRIT", [("default", "train")]),
        ("open-r1/DAPO-Math-17k-Processed", [("all", "train")]),
    ],
)
def test_all_reads_every_row_once(name: str, expected: list[tuple[str, str]]) -> None:
    assert [(*part.subsets, part.split) for part in known(name).parts(["all"])] == expected


@pytest.mark.parametrize("entry", [entry for entry in entries() if entry.subsets], ids=lambda entry: entry.name)
def test_all_is_possible_where_there_are_subsets(entry: Entry) -> None:
    assert entry.parts(["all"])


def test_a_subset_must_be_named_where_there_is_no_default() -> None:
    with pytest.raises(ConfigError, match=r"several subsets \(common-zh, unknow-zh, common-en\); say which"):
        known("swift/sharegpt").parts()


def test_convert_renames_leaves_out_and_fills_in() -> None:
    entry = Entry("x", columns={"q": "query", "noise": None, "url": "images"}, constants={"system": "Be kind."})
    raw = {"q": "a", "noise": 1, "url": "cat.png", "response": "b"}
    assert entry.convert(raw) == {"query": "a", "images": ["cat.png"], "response": "b", "system": "Be kind."}
    assert raw == {"q": "a", "noise": 1, "url": "cat.png", "response": "b"}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
        {"code_with_problem": None, "explanation_only": "So."},
        {"code_with_problem": 7, "explanation_only": "So."},
    ],
)
def test_a_row_of_another_shape_is_left_to_the_formats(row) -> None:
    assert known("AI-ModelScope/leetcode-solutions-python").convert(row) == row
