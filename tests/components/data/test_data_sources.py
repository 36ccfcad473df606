"""Dataset specs: what they say, where they lead, and when they stand for other bytes than before."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config.groups.data import Data
from components.data import collect_rows, inputs_sha256, load, recorded_commits, resolve
from components.data.catalogue import find
from components.data.formats import to_row
from components.data.sources import Spec, parse
from components.errors import ConfigError, DataGateError
from components.files import write_json

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ROW = '{"query": "q", "response": "r"}\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files and folders that specs may lead to."""
    for name in ("train.jsonl", "v#3.jsonl", "a@b:c.jsonl", "set/train.jsonl", "set/test.jsonl", "set/README.jsonl.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(ROW)
    for name in ("subs/zh/train-0.jsonl", "subs/zh/train-1.jsonl", "subs/en/x.jsonl", "owner/name/x.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(ROW)
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.pdf").write_text("x")
    return tmp_path


def sources(folder: Path, *specs: str, use_hf: bool = False, **recorded: str):
    return resolve(specs, folder, use_hf, recorded, folder / "memo.json")


def names(folder: Path, spec: str) -> list[str]:
    (source,) = sources(folder, spec)
    assert source.hub is None and all(path.is_file() for path, _ in source.files)
    return [name for _, name in source.files]


WORD = st.text("abz019_-.", min_size=1, max_size=5)


@given(
    hub=st.sampled_from([None, "hf", "ms"]),
    name=st.tuples(WORD, WORD).map("/".join),
    subsets=st.lists(WORD, max_size=2),
    revision=st.none() | WORD | st.just("refs/pr/1"),
    rows=st.none() | st.integers(1, 10**6),
)
def test_a_spec_is_taken_apart(hub, name, subsets, revision, rows):
    parts = (f"{hub}::" if hub else "", name, ":" + "/".join(subsets) if subsets else "")
    spec = "".join(parts) + (f"@{revision}" if revision else "") + (f"#{rows}" if rows else "")
    hubs = {"hf": "huggingface", "ms": "modelscope", None: None}
    assert parse(spec) == Spec(hubs[hub], name, tuple(subsets), revision, rows)


def test_local_paths(folder: Path):
    assert names(folder, "train.jsonl#1") == ["train.jsonl"]
    assert names(folder, str(folder / "train.jsonl")) == [str(folder / "train.jsonl")]
    assert names(folder, "set") == ["set/train.jsonl"]
    assert names(folder, "set/#5") == ["set/train.jsonl"]
    assert names(folder, "subs:zh#5") == ["subs/zh/train-0.jsonl", "subs/zh/train-1.jsonl"]
    assert names(folder, "set/*.jsonl") == ["set/test.jsonl", "set/train.jsonl"]
    assert names(folder, "subs/**/*-[01].jsonl#2") == ["subs/zh/train-0.jsonl", "subs/zh/train-1.jsonl"]
    assert names(folder, "owner/name") == ["owner/name/x.jsonl"]


def test_a_file_of_that_very_name_comes_first(folder: Path):
    assert names(folder, "a@b:c.jsonl#2") == ["a@b:c.jsonl"]
    assert names(folder, "v#3.jsonl#1") == ["v#3.jsonl"]
    assert sources(folder, "v#3.jsonl#1")[0].rows == 1
    (folder / "v#3").write_text(ROW)
    with pytest.raises(ConfigError, match="'v#3': not a kind of file that is read"):
        sources(folder, "v#3")


WRONG = {
    "missing": ("trian.jsonl", r"'trian.jsonl': no such file \(did you mean 'train.jsonl'\?\)"),
    "missing with rows": ("trian.jsonl#5", r"no such file \(did you mean 'train.jsonl'\?\)"),
    "missing below a folder": ("set/x", "no such file"),
    "missing below a missing folder": ("sets/x.jsonl", r"no such file \(did you mean 'set'\?\)"),
    "missing absolute": ("/nowhere/x.json", "no such file"),
    "missing at home": ("~/no-such-folder/x", "no such file"),
    "unread kind": ("notes.pdf", "'notes.pdf': not a kind of file that is read"),
    "missing of an unread kind": ("gone.xlsx", "no such file"),
    "missing and compressed": ("gone.csv.gz", "no such file"),
    "a folder without rows": ("empty", "'empty' holds no file of rows"),
    "a folder without the subset": ("subs:ja", "no subset 'ja'"),
    "a subset of a file": ("train.jsonl:zh", "'train.jsonl' is not a folder and has no subsets"),
    "a revision of a file": ("train.jsonl@main", "'train.jsonl' is a local path and has no revision"),
    "a glob without files": ("set/*.csv", "no such file"),
    "a glob of other files": ("*.pdf", "'notes.pdf': not a kind of file that is read"),
    "no rows": ("train.jsonl#0", "1 to 1,000,000,000"),
    "more rows than can be": ("train.jsonl#100000000000", "1 to 1,000,000,000"),
    "a name no disk can hold": ("a" * 300 + ".jsonl", "too long"),
    "neither": ("what is this", "neither a file that exists nor a hub id"),
    "empty": ("", "neither a file that exists nor a hub id"),
    "letters for a number": ("other/name#many", "neither"),
    "url": ("https://example.org/x", "neither"),
    "unknown hub": ("hg::owner/other", "no hub 'hg'.*write hf:: or ms::"),
    "nearly built in": ("AI-ModelScope/alpaca-gpt4-data-zhh", None),
}


@pytest.mark.parametrize(("spec", "told"), WRONG.values(), ids=WRONG)
def test_a_wrong_spec_is_explained(folder: Path, spec: str, told: str | None):
    if told is None:
        assert sources(folder, spec)[0].hub == "modelscope"
        return
    with pytest.raises(ConfigError, match=told) as error:
        sources(folder, spec)
    assert "\n" not in str(error.value)


def test_hub_ids(folder: Path):
    plain, other, full = sources(folder, "o/n#5", "hf::o/n:zh/en@v1", f"ms::o/n@{COMMIT}")
    assert (plain.hub, plain.name, plain.rows, plain.version, plain.revision) == ("modelscope", "o/n", 5, None, None)
    assert (other.hub, other.subsets, other.revision, other.version) == ("huggingface", ("zh", "en"), "v1", None)
    assert (full.hub, full.version) == ("modelscope", COMMIT)
    assert sources(folder, "o/n", use_hf=True)[0].hub == "huggingface"


def test_built_in_datasets_are_known_by_either_hubs_id(folder: Path):
    name = "AI-ModelScope/alpaca-gpt4-data-zh"
    entry = find(name)
    assert entry and entry.modelscope and entry.huggingface
    for spec in (entry.modelscope, entry.huggingface, entry.modelscope.upper()):
        assert [source.name for source in sources(folder, spec, f"hf::{spec}#3")] == [
            entry.modelscope,
            entry.huggingface,
        ]
    (source,) = sources(folder, name)
    assert source.parts and source.subsets == source.parts[0].subsets


def test_a_dataset_info_gives_names_to_local_files(folder: Path):
    info = {"mine": {"file_name": "mine.json", "columns": {"prompt": "ask", "response": "say"}, "num_samples": 2}}
    write_json(folder / "info/dataset_info.json", info)
    write_json(folder / "info/mine.json", [{"ask": f"q{i}", "say": "r"} for i in range(5)])
    custom = [folder / "info/dataset_info.json"]
    (source,) = resolve(["mine"], folder, False, {}, folder / "memo.json", custom)
    assert (source.hub, source.name, source.rows) == (None, "mine", 2)
    found = collect_rows([source], [], Data(dataset_shuffle=False), folder)
    rows = [json.loads(raw) for _, _, raw in found.tables["train"]]
    assert [to_row(row)["messages"][0]["content"] for row in rows] == ["q0", "q1"]
    assert str(folder) not in json.dumps(found.manifest)


def test_a_built_in_dataset_is_asked_for_by_part_and_what_it_leaves_out_is_counted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    calls: list[Any] = []
    written = [{"query": "q", "response": "r"}, {"query": "left out"}, {"query": "q2", "response": "r2"}]
    (folder / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in written))

    class Files:
        names, commit, licence, repository = ["x.jsonl"], COMMIT, "mit", None

        def fetch(self) -> list[Path]:
            return [folder / "x.jsonl"]

    def locate(hub: str, name: str, revision: str | None, subsets: Any, *, split: str, similar: Any) -> Files:
        calls.append((hub, name, revision, tuple(subsets), split))
        return Files()

    class Part:
        subsets, split, licence = ("sub",), "train", None

        def convert(self, raw: dict[str, Any]) -> dict[str, Any] | None:
            return raw if "response" in raw else None

    monkeypatch.setattr(load, "locate_files", locate)
    (source,) = sources(folder, "o/n@v1")
    source = type(source)(**vars(source) | {"parts": (Part(), Part())})
    found = collect_rows([source], [], Data(dataset_shuffle=False), folder)
    assert calls == [("modelscope", "o/n", "v1", ("sub",), "train"), ("modelscope", "o/n", COMMIT, ("sub",), "train")]
    assert [row for _, row, _ in found.tables["train"]] == [1, 3, 1, 3]
    (described,) = found.manifest["sources"]
    assert {key: described[key] for key in ("rows", "left_out", "taken", "revision", "asked", "licence")} == {
        "rows": 6,
        "left_out": 2,
        "taken": 4,
        "revision": COMMIT,
        "asked": "v1",
        "licence": "mit",
    }
    write_json(folder / "raw/manifest.json", found.manifest)
    assert sources(folder, "o/n@v1", **recorded_commits(folder / "raw"))[0].version == COMMIT
    assert sources(folder, "o/n", **recorded_commits(folder / "raw"))[0].version is None

    class Nothing(Part):
        def convert(self, raw: dict[str, Any]) -> dict[str, Any] | None:
            return raw.get("nothing")

    with pytest.raises(DataGateError, match="its converter left out all 3 rows"):
        collect_rows([type(source)(**vars(source) | {"parts": (Nothing(),)})], [], Data(), folder)


def test_inputs_change_with_bytes_names_and_parameters(folder: Path):
    def inputs(spec: str, seed: int = 1) -> str | None:
        return inputs_sha256(sources(folder, spec), {"seed": seed})

    for spec in ("train.jsonl", "set", "subs/*/*.jsonl"):
        before = inputs(spec)
        assert before and before == inputs(spec) and before != inputs(spec, seed=2)
        file = sources(folder, spec)[0].files[0][0]
        file.write_text(ROW * 2)
        assert before != inputs(spec)
        file.write_text(ROW)
        assert before == inputs(spec)
    before = inputs("subs/*/*.jsonl")
    (folder / "subs/en/x.jsonl").rename(folder / "subs/en/y.jsonl")
    assert before != inputs("subs/*/*.jsonl")
    assert inputs("o/new") is None


def test_large_files_are_hashed_once(folder: Path):
    big = folder / "set/train.jsonl"
    with big.open("ab") as file:
        file.truncate(20 << 20)
    first = sources(folder, "set")
    memo = json.loads((folder / "memo.json").read_text())
    assert list(memo) == [f"file {big.resolve()}"]
    state = big.stat()
    big.write_bytes(b"x" * state.st_size)
    os.utime(big, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert sources(folder, "set") == first
    big.touch()
    assert sources(folder, "set") != first


def test_rows_of_a_folder_or_a_glob_are_found_again_by_their_file(folder: Path):
    (folder / "several").mkdir()
    for name in ("a", "b"):
        (folder / f"several/{name}.jsonl").write_text('{"query": "q", "response": "r"}\n' * 2)
    for spec in ("several", "several/*.jsonl"):
        found = collect_rows(sources(folder, spec), [], Data(dataset_shuffle=False), folder)
        places = [(source, row) for source, row, _ in found.tables["train"]]
        assert places == [
            ("several/a.jsonl", 1),
            ("several/a.jsonl", 2),
            ("several/b.jsonl", 1),
            ("several/b.jsonl", 2),
        ]


def test_a_folder_with_two_kinds_of_files_is_not_read_by_halves(folder: Path):
    (folder / "mixed").mkdir()
    (folder / "mixed/a.jsonl").write_text('{"query": "q", "response": "r"}\n')
    (folder / "mixed/b.csv").write_text("query,response\nq,r\n")
    with pytest.raises(ConfigError, match=r"several kinds, a\.jsonl and b\.csv.*'mixed/\*\.jsonl'"):
        sources(folder, "mixed")
    (folder / "mixed/b.csv").rename(folder / "mixed/test.csv")
    assert sources(folder, "mixed")[0].files[0][1] == "mixed/a.jsonl"


def test_two_columns_do_not_become_one(folder: Path):
    (folder / "rows.jsonl").write_text('{"query": "q", "response": "r", "note": "n"}\n')
    with pytest.raises(ConfigError, match="'query' and 'response' would both be 'response'"):
        collect_rows(sources(folder, "rows.jsonl"), [], Data(columns={"query": "response"}), folder)
    found = collect_rows(sources(folder, "rows.jsonl"), [], Data(columns={"note": "_"}), folder)
    assert json.loads(next(iter(found.tables["train"]))[2]) == {"query": "q", "response": "r", "_": "n"}


def test_shares_with_which_drawing_would_not_end_are_refused(folder: Path):
    for name in ("a", "b"):
        (folder / f"{name}.jsonl").write_text('{"query": "q", "response": "r"}\n' * 20)
    both = sources(folder, "a.jsonl", "b.jsonl")
    endless = {"interleave_prob": [1e-12, 1], "stopping_strategy": "all_exhausted"}
    with pytest.raises(ConfigError, match="share 1e-12 more"):
        collect_rows(both, [], Data(**endless), folder)
    for wrong in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="finite"):
            Data(interleave_prob=[wrong, 1])
