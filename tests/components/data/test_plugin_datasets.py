"""Datasets that a plugin makes: they are rows like those of a file, and nothing runs that the user did not name."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.config.groups.data import Data
from components.data import RowStream, StreamPosition, collect_rows, resolve
from components.errors import ConfigError, DataGateError, MartletError

ROWS = """\
NAMES = {"zh": 3, "en": 4}

def rows(subset="en"):
    for n in range(NAMES[subset]):
        yield {"query": f"{subset} {n}?", "response": "yes"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(ROWS)
    return tmp_path


def sources(folder: Path, *specs: str, plugin: str = "mine.py"):
    return resolve(specs, folder, False, {}, folder / "memo.json", plugins=[folder / plugin])


def rows(folder: Path, *specs: str, **data: Any) -> list[tuple[str, int, str]]:
    found = collect_rows(sources(folder, *specs), [], Data(dataset_shuffle=False, **data), folder)
    return [(source, number, json.loads(raw)["query"]) for source, number, raw in found.tables["train"]]


def test_a_subset_and_a_number_of_rows_are_those_of_any_dataset(folder: Path) -> None:
    assert rows(folder, "mine#2") == [("mine#2", 1, "en 0?"), ("mine#2", 2, "en 1?")]
    assert [row[1:] for row in rows(folder, "mine:zh/en")][2:4] == [(3, "zh 2?"), (4, "en 0?")]
    assert len(rows(folder, "mine#6")) == 6  # repeated
    assert len(rows(folder, "mine", "mine:zh")) == 7


def test_the_rows_are_drawn_split_and_renamed_as_those_of_a_file(folder: Path) -> None:
    lines = [json.dumps({"query": f"en {n}?", "response": "yes"}) for n in range(4)]
    (folder / "file.jsonl").write_text("\n".join(lines))
    data = Data(split_dataset_ratio=0.3, columns={"query": "ask"})
    made, read = (collect_rows(sources(folder, spec), [], data, folder) for spec in ("mine#3", "file.jsonl#3"))
    for name, table in read.tables.items():
        assert [row[1:] for row in made.tables[name]] == [row[1:] for row in table]
    assert made.manifest["rows"] == read.manifest["rows"] == {"train": 2, "val": 1}


def test_a_stream_goes_on_in_the_middle(folder: Path) -> None:
    def chunk(start: StreamPosition | None) -> tuple[StreamPosition, list[Any]]:
        stream = RowStream(sources(folder, "mine:zh/en"), Data(dataset_shuffle=False), folder)
        position, taken, _ = next(stream.chunks(start))
        return position, [(row.source, row.number, json.loads(row.raw)["query"]) for row in taken]

    start, whole = chunk(None)
    assert whole == rows(folder, "mine:zh/en")
    assert chunk(start._replace(cursors=[(0, 5, 0, 5, False)]))[1] == whole[5:]


def test_values_that_json_has_no_type_for(folder: Path) -> None:
    (folder / "mine.py").write_text("""\
import dataclasses, datetime, decimal, numpy, pathlib

class Stamp(datetime.datetime): ...

@dataclasses.dataclass
class Row:
    query: str

def rows():
    yield Row("object")
    yield {"query": "when", "at": Stamp(2026, 11, 29)}
    yield {"query": numpy.array(["a", "b"]), "label": numpy.int64(3), "share": numpy.float32(0.5)}
    yield {"query": ("a", b"b", pathlib.Path("c")), "number": decimal.Decimal("0.10"), "nan": float("nan")}
""")
    raws = [
        raw
        for _, _, raw in collect_rows(sources(folder, "mine"), [], Data(dataset_shuffle=False), folder).tables["train"]
    ]
    assert raws == [
        '{"query":"object"}',
        '{"query":"when","at":"2026-11-29 00:00:00"}',
        '{"query":["a","b"],"label":3,"share":0.5}',
        '{"query":["a","b","c"],"number":0.10,"nan":null}',
    ]


def body(text: str) -> str:
    return "def rows(subset='x'):\n    " + text


FAULTS = {
    "no dict": (body("yield {}\n    yield ['a']\n    yield {}\n    yield 7"), "mine", DataGateError,
                r"^mine:2: a row must be an object \{…\}, not a list; 1 more row is malformed"),
    "no json": (body("yield {'a': 1}\n    yield {'a': {1: 2}}"), "mine", DataGateError,
                "^mine:2: cannot be written as JSON: Dict key must be str"),
    "an object": (body("yield {'a': rows}"), "mine", DataGateError, "^mine:1: .*not JSON serializable: function"),
    "no rows": (body("return []"), "mine", DataGateError, "^mine: the dataset is empty"),
    "no yield": (body("print('row')"), "mine", ConfigError, "`rows` yields dicts, or returns a list of them, not None"),
    "no function": ("rows = [{'query': 'a'}]", "mine", ConfigError, "`rows` is no function, but a list"),
    "no rows defined": ("def row(): ...", "mine", ConfigError, r"mine\.py: not a complete dataset: `rows` missing"),
    "no subsets": ("def rows(): ...", "mine:zh#3", ConfigError,
                   r"'mine:zh#3': asks for rows\('zh'\), and mine\.py defines rows\(\); leave the subset out"),
    "a subset is needed": ("def rows(subset): ...", "mine", ConfigError,
                           r"'mine': asks for rows\(\), and mine\.py defines rows\(subset\); name a subset"),
    "a revision": (ROWS, "mine@main", ConfigError, "'mine' is a plugin and has no revision"),
    "on import": ("x = 1\nx / 0", "mine", ConfigError, r"external_plugins: .*mine\.py:2: ZeroDivisionError"),
    "misspelt": (ROWS, "mien", ConfigError, r"\(did you mean 'mine'\?\)"),
    "its file": (ROWS, "mine.py", ConfigError, "write --external_plugins mine.py --dataset mine$"),
    "of a hub": (ROWS, "hf::mine", ConfigError, "neither a file that exists nor a hub id"),
    "misspelt of a hub": (ROWS, "hf::wikipedai", ConfigError, r"\(did you mean 'wikipedia'\?\)$"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "spec", "kind", "message"), FAULTS.values(), ids=FAULTS)
def test_a_fault_names_the_plugin_and_the_row(
    folder: Path, text: str, spec: str, kind: type[MartletError], message: str
) -> None:
    (folder / "mine.py").write_text(text)
    with pytest.raises(kind, match=message):
        collect_rows(sources(folder, spec), [], Data(), folder)


def test_malformed_rows_of_a_stream_are_passed_on_with_their_fault(folder: Path) -> None:
    (folder / "mine.py").write_text(body("yield from ({'text': 'a'}, 'b', {'text': 'c'})"))
    _, taken, _ = next(RowStream(sources(folder, "mine"), Data(dataset_shuffle=False), folder).chunks())
    assert [(row.number, bool(row.fault)) for row in taken] == [(1, False), (2, True), (3, False)]


def test_a_path_goes_before_a_plugin_and_a_plugin_before_what_is_built_in(folder: Path) -> None:
    (folder / "alpaca-gpt4-data-zh.py").write_text(ROWS)
    (source,) = sources(folder, "alpaca-gpt4-data-zh", plugin="alpaca-gpt4-data-zh.py")
    assert (source.hub, source.files[0][0].name) == (None, "alpaca-gpt4-data-zh.py")
    (folder / "alpaca-gpt4-data-zh.py").rename(folder / "alpaca_gpt4_data_zh.py")
    (source,) = sources(folder, "alpaca-gpt4-data-zh", plugin="alpaca_gpt4_data_zh.py")
    assert source.plugin
    (folder / "loss").mkdir()
    (folder / "loss/alpaca-gpt4-data-zh.py").write_text("def losses(): ...")
    assert sources(folder, "alpaca-gpt4-data-zh", plugin="loss/alpaca-gpt4-data-zh.py")[0].hub == "modelscope"
    (folder / "mine").mkdir()
    (folder / "mine/rows.jsonl").write_text('{"query": "q", "response": "r"}\n')
    assert sources(folder, "mine")[0].files[0][1] == "mine/rows.jsonl"


def test_code_that_the_user_did_not_name_is_not_run(folder: Path) -> None:
    evil = "import pathlib; pathlib.Path(__file__).with_name('ran').touch()\ndef rows(): ..."
    for name in ("set/set.py", "set/train.py", "other.py", "loss.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(evil)
    (folder / "set/rows.jsonl").write_text('{"query": "q", "response": "r"}\n')
    assert [name for _, name in sources(folder, "set")[0].files] == ["set/rows.jsonl"]
    with pytest.raises(ConfigError, match=r"did you mean 'loss'"):
        sources(folder, "losss", plugin="loss.py")
    with pytest.raises(ConfigError, match=r"if other\.py makes the rows, add --external_plugins other\.py$"):
        sources(folder, "other")
    sources(folder, "owner/loss", "hf::owner/loss", "set", plugin="loss.py")
    assert not list(folder.rglob("ran"))
