"""Which files are read: by what a README declares, by folders, by names."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.subsets import front_matter, listed_configs, select, training_files
from components.errors import ConfigError

NAMES = [
    "README.md",
    "main/train-00000-of-00002.parquet",
    "main/train-00001-of-00002.parquet",
    "main/test-00000-of-00001.parquet",
    "socratic/train-00000-of-00001.parquet",
    "socratic/test-00000-of-00001.parquet",
]
MAIN, SOCRATIC = NAMES[1:3], NAMES[4:5]


def config(name: str, data_files: Any, **more: Any) -> dict[str, Any]:
    return {"config_name": name, "data_files": data_files, **more}


def chosen(names: list[str], configs: list[Any], *subsets: str, split: str = "train") -> list[str]:
    return select(names, {"configs": configs}, subsets, split, "owner/name")


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.json", "README.md", "x.bin"], ["a.json"]),
        (["train.csv", "train.jsonl", "test.jsonl"], ["train.jsonl"]),
        (
            ["b/train-1.parquet", "b/train-0.parquet", "b/validation.parquet"],
            ["b/train-0.parquet", "b/train-1.parquet"],
        ),
        (["zh.jsonl", "en.jsonl.gz", "dev.jsonl"], ["en.jsonl.gz", "zh.jsonl"]),
        (["a.jsonl.zst", "b.JSONL", "b.jsonl.tar"], ["a.jsonl.zst", "b.JSONL"]),
        (["test.jsonl"], ["test.jsonl"]),
        (["train/data-00000-of-00001.csv", "train/state.json", "dataset_dict.json"], ["train/data-00000-of-00001.csv"]),
        (["dataset_infos.json", ".x.json", "a/.git/x.json"], []),
    ],
)
def test_which_files_hold_training_rows(names: list[str], expected: list[str]):
    assert training_files(names) == expected


@given(st.lists(st.from_regex(r"\A[a-z]{1,5}(/[a-z_]{1,8})?\.(jsonl|csv|json|bin|md)(\.gz)?\Z"), unique=True))
def test_training_files_are_of_one_kind_and_none_only_where_there_is_none(names: list[str]):
    found = training_files(names)
    assert set(found) <= set(names) and found == sorted(found)
    kinds = {name.removesuffix(".gz").rpartition(".")[2] for name in found}
    readable = {"config.json", "dataset_infos.json"}.isdisjoint(names) and any(
        name.removesuffix(".gz").endswith((".jsonl", ".csv", ".json")) for name in names
    )
    assert len(kinds) == bool(found) and (found or not readable)


# Without a declaration


def test_a_folder_is_a_subset_and_else_a_name_that_holds_it():
    assert chosen(NAMES, [], "main") == MAIN
    assert chosen(NAMES, [], "socratic", "main") == SOCRATIC + MAIN
    assert chosen(NAMES, []) == MAIN + SOCRATIC
    flat = ["alpaca_en_demo.json", "alpaca_zh_demo.json", "golden.json", "zh_test.json"]
    assert chosen(flat, [], "en") == ["alpaca_en_demo.json"]  # not golden.json
    assert chosen(flat, [], "alpaca_zh", "golden") == ["alpaca_zh_demo.json", "golden.json"]
    assert chosen(flat, [], "zh") == ["alpaca_zh_demo.json"]


@pytest.mark.parametrize("word", ["default", "all"])
def test_the_words_of_ms_swift_for_every_file(word: str):
    assert chosen(NAMES, [], word) == MAIN + SOCRATIC


def test_an_unknown_subset_is_told_with_those_there_are():
    with pytest.raises(ConfigError) as folders:
        chosen(NAMES, [], "socratik")
    assert str(folders.value) == (
        "dataset 'owner/name': has no subset 'socratik' (did you mean 'socratic'?); it has main, socratic"
    )
    with pytest.raises(ConfigError, match=r"no subset 'fr'; it has en, zh$"):
        chosen(["en.jsonl", "zh.jsonl"], [], "fr")
    with pytest.raises(ConfigError, match=r"it has c0, c1, .* and 5 more$"):
        chosen(["a.csv"], [config(f"c{number}", "a.csv") for number in range(25)], "main")


def test_a_split_of_another_name():
    assert chosen(NAMES, [], "main", split="test") == NAMES[3:4]
    with pytest.raises(ConfigError, match=r"has no split 'validation'; it has main/test-00000-of-00001.parquet, main"):
        chosen(NAMES, [], "main", split="validation")


# With one


@pytest.mark.parametrize(
    "data_files",
    [
        "main/train-*",
        ["main/train-00000-of-00002.parquet", "./main/train-00001-of-00002.parquet"],
        [{"split": "train", "path": "main/train-*.parquet"}, {"split": "test", "path": "main/test-*"}],
        [{"split": "test", "path": "main/test-*"}, {"split": "train", "path": ["main/train-0000[0-1]-of-*"]}],
        {"train": "**/main/train-?????-of-00002.parquet", "test": "nothing/*"},
        [{"split": "train_sft", "path": "ma*/train-*"}, {"split": "test_sft", "path": "main/test-*"}],
    ],
)
def test_the_ways_to_declare_files(data_files: Any):
    configs = [config("main", data_files), config("other", "socratic/*")]
    assert chosen(NAMES, configs, "main") == MAIN
    assert chosen(NAMES, configs, "all") == [*MAIN, *sorted(NAMES[4:])]


def test_a_star_stays_in_its_folder_and_two_do_not():
    names = ["a/b/c.jsonl", "a/d.jsonl", "e.jsonl"]
    assert chosen(names, [config("x", "*.jsonl")]) == ["e.jsonl"]
    assert chosen(names, [config("x", "a/*.jsonl")]) == ["a/d.jsonl"]
    assert chosen(names, [config("x", "**.jsonl")]) == names
    assert chosen(names, [config("x", "a/**/*.jsonl")]) == ["a/b/c.jsonl", "a/d.jsonl"]
    assert chosen(names, [config("x", "[!e]/*.jsonl")]) == ["a/d.jsonl"]


@given(st.text("ab.*?[]()+$^\\ -", min_size=1, max_size=8))
def test_a_name_that_is_no_glob_matches_itself_alone(stem: str):
    plain = not set(stem) & set("*?[")
    names = [f"{stem}.csv", "zzz.csv"]
    if plain and stem.strip(". ") and not stem.startswith("."):
        assert chosen(names, [config("x", names[0])]) == names[:1]


def test_which_subset_is_meant_when_none_is_named():
    two = [config("b", "socratic/train-*"), config("default", "main/train-*")]
    assert chosen(NAMES, two) == MAIN
    assert chosen(NAMES, two[:1]) == SOCRATIC == chosen(NAMES, two[:1], "default")
    assert chosen(NAMES, [config("a", "main/train-*"), config("b", "socratic/train-*", default=True)]) == SOCRATIC
    assert chosen(NAMES, [config("a", "main/*"), config("b", "socratic/*")]) == MAIN + SOCRATIC


def test_a_declared_folder_and_a_declaration_of_a_name_alone():
    assert chosen(NAMES, [config("x", None, data_dir="socratic")]) == SOCRATIC
    assert chosen(NAMES, [config("x", "train-*", data_dir="./main/")]) == MAIN
    assert chosen(NAMES, [{"config_name": "x"}, "no mapping", {"data_files": "main/*"}]) == MAIN + SOCRATIC


def test_what_is_declared_and_not_there_is_an_error():
    with pytest.raises(ConfigError, match=r"its subset 'x' is declared as 'main/dev-\*', and there is no such file"):
        chosen(NAMES, [config("x", ["main/train-*", "main/dev-*"])])
    with pytest.raises(ConfigError, match=r"declared as 'README.md'"):
        chosen(NAMES, [config("x", "README.md")])
    with pytest.raises(ConfigError, match=r"holds no file of rows \(\.arrow|holds no file of rows \(\.csv"):
        chosen(["README.md"], [])


# Shards


@given(st.integers(1, 12), st.data())
def test_a_missing_shard_is_an_error_and_a_whole_set_is_not(total: int, data: st.DataObject):
    names = [f"d/train-{number:05d}-of-{total:05d}-0123456789abcdef.parquet" for number in range(total)]
    assert chosen(names, []) == names
    gone = data.draw(st.integers(0, total - 1))
    if total > 1:
        with pytest.raises(ConfigError, match=f"lacks 1 of its {total} shards, the first is d/train-{gone:05d}-of-"):
            chosen([name for number, name in enumerate(names) if number != gone], [])


# Front matter


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "---\nlicense: mit\nconfigs:\n- config_name: 1\n---\n# x",
            {"license": "mit", "configs": [{"config_name": 1}]},
        ),
        ("---\r\nlicense: mit\r\n---\r\n", {"license": "mit"}),
        ("\ufeff---\nlicense: mit\n---\n", {"license": "mit"}),
        ("# no front matter\n---\nlicense: mit\n---\n", {}),
        ("---\nlicense: [mit\n---\n", {}),
        ("---\n- a\n---\n", {}),
        ("---\nlicense: 2020-13-45\n---\n", {}),
        (
            "---\na: [mit\nlicense: mit\nconfigs:\n- config_name: x\n---\n",
            {"license": "mit", "configs": [{"config_name": "x"}]},
        ),
        ("---\nlicense: mit", {}),
        ("---\nconfigs: " + "[" * 100000 + "]" * 100000 + "\n---\n", {}),
    ],
    ids=range(10),
)
def test_front_matter(text: str, expected: dict[str, Any], tmp_path: Path):
    card = tmp_path / "README.md"
    card.write_bytes(text.encode())
    assert front_matter(card) == expected


def test_a_readme_that_is_absent_or_no_text_declares_nothing(tmp_path: Path):
    assert front_matter(tmp_path / "README.md") == {}
    (tmp_path / "README.md").write_bytes(b"---\nlicense: \xff\xfe\n---\n")
    assert list(front_matter(tmp_path / "README.md")) in ([], ["license"])


@pytest.mark.parametrize("text", ["[{}]", "{", '{"a": 1}', '{"a": {"train": "x"}}', '[{"query": "a"}]', "[" * 10000])
def test_a_json_file_of_rows_declares_nothing(text: str, tmp_path: Path):
    (tmp_path / "name.json").write_text(text)
    assert listed_configs(tmp_path / "name.json") == []
