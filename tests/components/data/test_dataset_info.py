"""LLaMA-Factory's dataset_info.json, read as it is."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.data.catalogue import find
from components.data.dataset_info import find_in
from components.data.entry import Entry
from components.data.formats import to_row
from components.errors import ConfigError

Row = dict[str, Any]
OPENAI = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}


@pytest.fixture
def info(tmp_path: Path):
    """Write a dataset_info.json beside an empty data.json, and return its path."""

    def write(described: Any) -> Path:
        path = tmp_path / "dataset_info.json"
        path.write_text(described if isinstance(described, str) else json.dumps(described))
        (tmp_path / "data.json").write_text("[]")
        return path

    return write


def entry(path: Path) -> Entry:
    found = find("mine", [path])
    assert found is not None
    return found


def user(content: str) -> Row:
    return {"role": "user", "content": content}


def assistant(content: str) -> Row:
    return {"role": "assistant", "content": content}


def test_where_a_dataset_lies(info) -> None:
    path = info(
        {
            "mine": {"file_name": "data.json", "num_samples": 7},
            "both": {"hf_hub_url": "a/b", "ms_hub_url": "c/d", "subset": "en", "split": "test", "file_name": "no.json"},
            "at": {"hf_hub_url": "a/b", "folder": "part", "revision": "v1"},
        }
    )
    assert (entry(path).file, entry(path).samples, entry(path).split) == (path.parent / "data.json", 7, "train")
    both, at = find("both", [path]), find("at", [path])
    assert both and (both.huggingface, both.modelscope, both.subsets, both.split) == ("a/b", "c/d", ("en",), "test")
    assert both.parts()[0].subsets == ("en",)
    assert at and (at.subsets, at.revision, at.file) == (("part",), "v1", None)


def test_a_folder_stands_for_the_file_in_it_and_other_names_for_the_catalogue(info) -> None:
    path = info({"mine": {"file_name": "data.json"}})
    beside = find_in(path.parent, "mine")
    assert beside and beside.file == path.parent / "data.json"
    found = find("self-cognition", [path])
    assert found and found.name == "swift/self-cognition"
    assert find("else", [path]) is None


ROWS: list[tuple[str, Row, Row, Row]] = [
    (
        "alpaca by default",
        {},
        {"instruction": "Add.", "input": "1 2", "output": "3"},
        {"messages": [user("Add.\n1 2"), assistant("3")]},
    ),
    (
        "alpaca with its own names",
        {
            "columns": {
                "prompt": "ask",
                "query": "with",
                "response": "say",
                "system": "be",
                "history": "before",
                "images": "pics",
            }
        },
        {"ask": "A?", "with": "", "say": "B.", "be": "Brief.", "before": [["X?", "Y."]], "pics": "far/1.png"},
        {
            "messages": [
                {"role": "system", "content": "Brief."},
                user("X?"),
                assistant("Y."),
                user("A?"),
                assistant("B."),
            ],
            "images": ["far/1.png"],
        },
    ),
    ("pre-training", {"columns": {"prompt": "text"}}, {"text": "Once.", "url": "…"}, {"text": "Once."}),
    (
        "a preference",
        {"ranking": True, "columns": {"prompt": "q", "chosen": "good", "rejected": "bad"}},
        {"q": "A?", "good": "B.", "bad": "C."},
        {"prompt": [user("A?")], "chosen": [assistant("B.")], "rejected": [assistant("C.")]},
    ),
    (
        "a preference with the usual names",
        {"ranking": True},
        {"instruction": "A?", "input": "", "chosen": "B.", "rejected": "C."},
        {"prompt": [user("A?")], "chosen": [assistant("B.")], "rejected": [assistant("C.")]},
    ),
    (
        "an answer that is judged",
        {"columns": {"prompt": "prompt", "response": "completion", "kto_tag": "good"}},
        {"prompt": "A?", "completion": "B.", "good": False},
        {"prompt": [user("A?")], "completion": [assistant("B.")], "label": False},
    ),
    (
        "sharegpt",
        {"formatting": "sharegpt", "columns": {"system": "be", "tools": "tools"}},
        {
            "conversations": [
                {"from": "human", "value": "Weather?"},
                {"from": "function_call", "value": '{"name": "weather", "arguments": {"city": "Rome"}}'},
                {"from": "observation", "value": "sunny"},
                {"from": "gpt", "value": "Sunny."},
            ],
            "be": "Brief.",
            "tools": '[{"name": "weather", "parameters": {}}]',
        },
        {
            "messages": [
                {"role": "system", "content": "Brief."},
                user("Weather?"),
                assistant("")
                | {
                    "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}]
                },
                {"role": "tool", "content": "sunny"},
                assistant("Sunny."),
            ],
            "tools": [{"type": "function", "function": {"name": "weather", "parameters": {}}}],
        },
    ),
    (
        "sharegpt with its own roles",
        {
            "formatting": "sharegpt",
            "columns": {"messages": "talk"},
            "tags": {"role_tag": "who", "content_tag": "what", "user_tag": "me", "assistant_tag": "it"},
        },
        {"talk": [{"who": "system", "what": "Brief."}, {"who": "me", "what": "A?"}, {"who": "it", "what": "B."}]},
        {"messages": [{"role": "system", "content": "Brief."}, user("A?"), assistant("B.")]},
    ),
    (
        "sharegpt, a preference",
        {"formatting": "sharegpt", "ranking": True, "columns": {"chosen": "good", "rejected": "bad"}},
        {
            "conversations": [{"from": "human", "value": "A?"}],
            "good": {"from": "gpt", "value": "B."},
            "bad": {"from": "gpt", "value": "C."},
        },
        {"prompt": [user("A?")], "chosen": [assistant("B.")], "rejected": [assistant("C.")]},
    ),
    (
        "sharegpt, an answer that is judged",
        {"formatting": "sharegpt", "columns": {"messages": "messages", "kto_tag": "label"}, "tags": OPENAI},
        {"messages": [user("A?"), assistant("B.")], "label": True},
        {"prompt": [user("A?")], "completion": [assistant("B.")], "label": True},
    ),
    (
        "openai",
        {"formatting": "openai", "columns": {"tools": "functions"}},
        {
            "messages": [
                user("Weather?"),
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "1", "function": {"name": "weather", "arguments": "{}"}}],
                },
                {"role": "tool", "content": "sunny", "tool_call_id": "1"},
                assistant("Sunny."),
            ],
            "functions": [],
        },
        {
            "messages": [
                user("Weather?"),
                assistant("")
                | {"tool_calls": [{"id": "1", "type": "function", "function": {"name": "weather", "arguments": {}}}]},
                {"role": "tool", "content": "sunny", "tool_call_id": "1"},
                assistant("Sunny."),
            ]
        },
    ),
]


@pytest.mark.parametrize(("said", "raw", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_rows_become_canonical(info, said: Row, raw: Row, expected: Row) -> None:
    row = entry(info({"mine": said | {"file_name": "data.json"}})).convert(raw)
    assert row is not None
    assert to_row(row) == expected


def test_media_beside_the_file_are_named_from_there(info, tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"")
    path = info({"mine": {"file_name": "data.json", "columns": {"prompt": "q", "response": "a", "images": "i"}}})
    row = entry(path).convert({"q": "A?", "a": "B.", "i": ["1.png", "absent.png"]})
    assert row and row["images"] == [str(tmp_path / "1.png"), "absent.png"]
    path = info({"mine": {"hf_hub_url": "a/b", "columns": {"prompt": "q", "response": "a", "images": "i"}}})
    row = entry(path).convert({"q": "A?", "a": "B.", "i": ["1.png"]})
    assert row and row["images"] == ["1.png"]


def test_a_row_of_another_shape_is_left_to_the_formats(info) -> None:
    found = entry(info({"mine": {"file_name": "data.json", "formatting": "sharegpt"}}))
    assert found.convert({"conversations": 7}) == {"conversations": 7}
    assert found.convert({"query": "A?", "response": "B."}) == {"query": "A?", "response": "B."}


def test_all_problems_are_said_at_once(info) -> None:
    path = info(
        {
            "mine": {"file_nam": "data.json", "formatting": "sharegtp", "ranking": "yes", "num_samples": 0},
            "other": {"columns": {"respons": "a", "prompt": 1}, "tags": {"user_tga": "me"}, "num_samples": True},
            "third": "data.json",
        }
    )
    with pytest.raises(ConfigError) as caught:
        find("third", [path])
    said = str(caught.value)
    for part in (
        "'mine': unknown key 'file_nam' (did you mean 'file_name'?)",
        "'mine': 'formatting' must be one of alpaca, sharegpt, openai (did you mean 'sharegpt'?)",
        "'mine': 'ranking' must be true or false, not \"yes\"",
        "'mine': 'num_samples' must be at least 1",
        "'other': unknown key 'respons' in 'columns' (did you mean 'response'?)",
        "'other': 'prompt' in 'columns' must be a text, not 1",
        "'other': unknown key 'user_tga' in 'tags' (did you mean 'user_tag'?)",
        "'other': 'num_samples' must be a whole number, not true",
        "'third' must be an object that describes the dataset",
    ):
        assert f"{path}: {part}" in said.splitlines(), part
    assert len(said.splitlines()) == 9


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"script_url": "maker"}, "code of a dataset is not run"),
        ({"formatting": "alpaca"}, "needs 'ms_hub_url', 'hf_hub_url' or 'file_name'"),
        ({"file_name": "dat.json"}, "no file 'dat.json' beside it (did you mean 'data.json'?)"),
        ({"file_name": "../data.json"}, "'file_name' lies outside the folder of dataset_info.json: ../data.json"),
        ({"file_name": "/etc/passwd"}, "'file_name' lies outside the folder of dataset_info.json: /etc/passwd"),
        ({"file_name": "link.json"}, "'file_name' lies outside the folder of dataset_info.json: link.json"),
    ],
)
def test_a_dataset_that_cannot_be_read_is_refused_when_it_is_asked_for(
    info, tmp_path: Path, said: Row, expected: str
) -> None:
    (tmp_path / "link.json").symlink_to("/etc/hostname")
    path = info({"mine": said, "good": {"file_name": "data.json"}})
    assert find("good", [path])
    with pytest.raises(ConfigError, match="'mine'") as caught:
        find("mine", [path])
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{\n"mine": {,}\n}', "dataset_info.json:2: not JSON"),
        ("[]", "must be an object with a description for each dataset's name"),
        ("[" * 100_000, "cannot be read"),
    ],
)
def test_a_file_that_is_not_one_is_named(info, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find("mine", [info(text)])
    assert expected in str(caught.value)


def test_bytes_that_are_no_utf8_and_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_bytes(b'{"\xff": 1}')
    with pytest.raises(ConfigError, match=r"dataset_info\.json: cannot be read"):
        find("mine", [tmp_path])
    with pytest.raises(ConfigError, match=r"no file .*dataset_inf\.json \(did you mean '.*dataset_info\.json'\?\)"):
        find("mine", [tmp_path / "dataset_inf.json"])


KEYS = st.sampled_from(("file_name", "columns", "tags", "ranking", "num_samples", "formatting", "hf_hub_url", "x"))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=9), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from(("mine", "other")), st.dictionaries(KEYS, VALUES, max_size=4) | VALUES))
def test_any_json_gives_an_entry_or_one_clear_message(tmp_path_factory: pytest.TempPathFactory, described: Row) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_text(json.dumps(described))
    try:
        found = find_in(path, "mine")
    except ConfigError as error:
        assert str(path) in str(error)
    else:
        assert found is None if "mine" not in described else found and found.name == "mine"
