"""fetch, as a user runs it: files in, files out, and one line when something is wrong."""

import json
import os
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from components.config import Params
from components.errors import ConfigError, MartletError
from components.files import sha256
from tasks.stages import fetch, runner, validate
from tasks.stages.paths import Paths
from tests.components.hub.hub_server import COMMIT, hub
from tests.components.media.files import picture


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """A workspace with a model folder, two datasets and a question set."""
    (tmp_path / "base").mkdir()
    (tmp_path / "base/config.json").write_text("{}")
    write(tmp_path / "a.jsonl", [{"query": f"a {i}", "response": "I am {{NAME}}"} for i in range(20)])
    (tmp_path / "b.json").write_text(json.dumps([{"instruction": f"b {i}", "output": "燕"} for i in range(10)]))
    write(tmp_path / "q.jsonl", [{"query": "1 + 1", "response": "2"}])
    return tmp_path


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")


def params(**data: Any) -> Params:
    given = {"dataset": ["a.jsonl", "b.json#5"], "eval_dataset": ["q.jsonl"], "model_name": ["Ada"], **data}
    return Params.model_validate({"data": given, "model": {"model": "base"}})


def contents(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted((root / "data").rglob("*")) if p.is_file()}


def test_the_files_that_the_next_stages_read(workspace: Path):
    counts = fetch.run(params(split_dataset_ratio=0.2), Paths(workspace, workspace))
    assert counts == {"train": 20, "val": 5}
    train, val = (pq.read_table(workspace / f"data/raw/{split}.parquet") for split in ("train", "val"))
    assert (train.num_rows, val.num_rows) == (20, 5)
    assert [(f.name, str(f.type)) for f in train.schema] == [("source", "string"), ("row", "int64"), ("raw", "string")]
    rows = [row for table in (train, val) for row in table.to_pylist()]
    ours = {row["row"]: json.loads(row["raw"]) for row in rows if row["source"] == "a.jsonl"}
    assert ours == {i + 1: {"query": f"a {i}", "response": "I am Ada"} for i in range(20)}
    assert (workspace / "data/eval/q.jsonl").read_text() == '{"query":"1 + 1","response":"2"}\n'
    assert json.loads((workspace / "data/model.json").read_text())["source"] == "local"
    manifest = json.loads((workspace / "data/raw/manifest.json").read_text())
    assert [(s["spec"], s["rows"], s["taken"], s["held_out"]) for s in manifest["sources"]] == [
        ("a.jsonl", 20, 16, 4),
        ("b.json#5", 10, 4, 1),
    ]
    assert str(workspace) not in json.dumps(manifest)


def test_no_validation_rows_means_no_file(workspace: Path):
    fetch.run(params(), Paths(workspace, workspace))
    assert not (workspace / "data/raw/val.parquet").exists()


def test_equal_inputs_give_equal_bytes_in_another_folder(workspace: Path, tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("run")
    fetch.run(params(split_dataset_ratio=0.2), Paths(workspace, workspace))
    fetch.run(params(split_dataset_ratio=0.2), Paths(root, workspace))
    assert contents(root) == contents(workspace)


def written(root: Path) -> dict[Path, tuple[int, int]]:
    """Which file each output is, and when it was written; reading changes neither."""
    return {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in (root / "data").rglob("*")}


def test_nothing_new_leaves_the_outputs_untouched(workspace: Path):
    paths = Paths(workspace, workspace)
    assert not fetch.up_to_date(params(), paths)
    fetch.run(params(), paths)
    before = written(workspace)
    assert fetch.up_to_date(params(), paths)
    fetch.run(params(), paths)
    assert written(workspace) == before


CHANGES = {
    "a row": lambda folder: write(folder / "a.jsonl", [{"query": "new", "response": "x"}] * 20),
    "a question": lambda folder: write(folder / "q.jsonl", [{"query": "2 + 2", "response": "4"}]),
    "the model": lambda folder: (folder / "base/config.json").write_text("{ }"),
    "an output cut short": lambda folder: (folder / "data/raw/train.parquet").write_bytes(b""),
    "an output gone": lambda folder: (folder / "data/eval/manifest.json").unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_seen_and_only_what_it_touches_is_written(workspace: Path, change):
    paths = Paths(workspace, workspace)
    fetch.run(params(), paths)
    before = contents(workspace)
    change(workspace)
    assert not fetch.up_to_date(params(), paths)
    fetch.run(params(), paths)
    assert fetch.up_to_date(params(), paths)
    changed = {Path(name).parts[1] for name, body in contents(workspace).items() if before[name] != body}
    assert len(changed) <= 1


PLUGIN = """\
def rows(subset="train"):
    for n in range(3):
        yield {"query": f"{subset} {n}?", "response": "I am {{NAME}}"}
"""


def test_a_plugin_is_read_once_and_again_when_its_file_changes(workspace: Path):
    """As training, validation and evaluation data; what else the plugin reads, nobody sees."""
    (workspace / "mine.py").write_text(PLUGIN)
    given = params(dataset=["mine"], val_dataset=["mine:val#2"], eval_dataset=["mine:ask", "mine"]).model_dump()
    using = Params.model_validate(given | {"plugins": {"external_plugins": ["mine.py"]}})
    paths = Paths(workspace, workspace)
    assert fetch.run(using, paths) == {"train": 3, "val": 2}
    assert (workspace / "data/eval/mine_ask.jsonl").read_text().startswith('{"query":"ask 0?","response":"I am Ada"}\n')
    source = json.loads((workspace / "data/raw/manifest.json").read_text())["sources"][0]
    assert {name: source[name] for name in ("spec", "hub", "plugin", "sha256", "taken")} == {
        "spec": "mine", "hub": None, "plugin": "mine.py", "sha256": sha256(workspace / "mine.py"), "taken": 3,
    }  # fmt: skip
    assert fetch.up_to_date(using, paths)
    before = contents(workspace)
    (workspace / "mine.py").write_text(PLUGIN.replace("range(3)", "range(4)"))
    assert fetch.changes(using, paths) == [
        "mine changed", "mine:val#2 changed", "mine:ask changed", "mine changed",
    ]  # fmt: skip
    assert not fetch.up_to_date(using, paths)
    fetch.run(using, Paths(workspace, workspace))
    assert {name for name, body in contents(workspace).items() if before[name] != body} >= {
        "data/raw/manifest.json", "data/eval/manifest.json",
    }  # fmt: skip
    (workspace / "mine.py").write_text(PLUGIN.replace("yield", "raise ValueError(n)\n        yield"))
    with pytest.raises(MartletError, match=r"^external_plugins: .*mine\.py:3: ValueError: 0 \(the traceback is in "):
        runner.run("fetch", fetch.run, using, paths)


def test_a_changed_parameter_is_seen(workspace: Path):
    fetch.run(params(), Paths(workspace, workspace))
    assert not fetch.up_to_date(params(data_seed=1), Paths(workspace, workspace))
    assert not fetch.up_to_date(params(model_name=["Bea"]), Paths(workspace, workspace))


def test_a_failed_fetch_leaves_what_was_there(workspace: Path):
    paths = Paths(workspace, workspace)
    fetch.run(params(), paths)
    before = contents(workspace)
    (workspace / "a.jsonl").write_text('{"query": ')
    with pytest.raises(MartletError):
        fetch.run(params(), paths)
    assert contents(workspace) == before
    assert not list(workspace.rglob("*.tmp"))


WRONG = {
    "no dataset": ({"dataset": []}, 2, "data.dataset is empty"),
    "misspelt file": ({"dataset": ["aa.jsonl"]}, 2, "'aa.jsonl': no such file (did you mean 'a.jsonl'?)"),
    "misspelt questions": ({"eval_dataset": ["qq.jsonl"]}, 2, "'qq.jsonl': no such file"),
    "misspelt validation": ({"val_dataset": ["v.jsonl"]}, 2, "'v.jsonl': no such file"),
    "no name": ({"model_name": []}, 2, "--model_name"),
    "no such column": ({"columns": {"text": "query"}}, 2, "no dataset has a column 'text'"),
    "a folder without rows": ({"dataset": ["base"]}, 2, "'base' holds no file of rows"),
    "shares": ({"interleave_prob": [0.5]}, 2, "interleave_prob: 1 shares for 2 training datasets"),
    "no such dataset_info": ({"custom_dataset_info": ["i.json"]}, 2, "custom_dataset_info: 'i.json': no such file"),
}


@pytest.mark.parametrize(("data", "code", "told"), WRONG.values(), ids=WRONG)
def test_a_wrong_configuration_is_one_line(workspace: Path, data: dict[str, Any], code: int, told: str):
    with pytest.raises(MartletError) as error:
        runner.run("fetch", fetch.run, params(**data), Paths(workspace, workspace))
    assert error.value.exit_code == code and told in str(error.value) and "\n" not in str(error.value)
    assert not (workspace / "data/raw").exists() and not (workspace / "logs/fetch/error.txt").exists()


def test_a_model_must_be_named(workspace: Path):
    with pytest.raises(ConfigError, match="--model"):
        fetch.run(Params.model_validate({"data": {"dataset": ["b.json"]}}), Paths(workspace, workspace))


def run_here(workspace: Path, text: str, **environment: str) -> subprocess.CompletedProcess[str]:
    (workspace / "params.yaml").write_text(text)
    words = [sys.executable, "-m", "tasks.stages.fetch"]
    return subprocess.run(
        words, cwd=workspace, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_as_a_command(workspace: Path):
    done = run_here(workspace, "data: {dataset: a.jsonl, model_name: Ada}\nmodel: {model: base}\n")
    assert (done.returncode, done.stderr) == (0, "")
    (workspace / "a.jsonl").write_text('{"query": "a", "response": "b"}\n{"query": \n')
    bad = run_here(workspace, "data: {dataset: a.jsonl}\nmodel: {model: base}\n")
    assert bad.returncode == 3 and bad.stderr.startswith("martlet: a.jsonl:2: not JSON: ")
    assert len(bad.stderr.splitlines()) == 1


def test_looking_again_imports_nothing_heavy(workspace: Path):
    text = "data: {dataset: a.jsonl, model_name: Ada}\nmodel: {model: base}\n"
    run_here(workspace, text)
    seen = run_here(workspace, text, PYTHONPROFILEIMPORTTIME="1").stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in seen.splitlines()}
    assert "components" in imported
    assert not imported & {
        "pyarrow",
        "polars",
        "pandas",
        "numpy",
        "torch",
        "huggingface_hub",
        "modelscope_hub",
        "jinja2",
    }


def test_a_hub_dataset_is_pinned_and_then_needs_no_hub(workspace: Path):
    rows = b'{"query": "{{NAME}}?", "response": "yes"}\n'
    text = "data: {dataset: 'owner/name#3', use_hf: true, model_name: Ada}\nmodel: {model: base}\n"
    environment = {"HF_HOME": str(workspace / "hf"), "HF_HUB_OFFLINE": "0", "NO_PROXY": "*"}
    with hub({"train.jsonl": rows, "README.md": b"---\nlicense: mit\n---\n"}) as (endpoint, requests):
        done = run_here(workspace, text, HF_ENDPOINT=endpoint, **environment)
        assert done.returncode == 0, done.stderr
        requests.clear()
        assert run_here(workspace, text, HF_ENDPOINT=endpoint, **environment).returncode == 0
        assert not requests
    (source,) = json.loads((workspace / "data/raw/manifest.json").read_text())["sources"]
    assert (source["revision"], source["licence"], source["taken"]) == (COMMIT, "mit", 3)
    fewer = run_here(workspace, text.replace("#3", "#1"), HF_ENDPOINT="http://127.0.0.1:9", **environment)
    assert fewer.returncode == 0, fewer.stderr
    assert pq.read_table(workspace / "data/raw/train.parquet")["raw"].to_pylist() == [
        '{"query":"Ada?","response":"yes"}'
    ]


def test_a_changed_picture_is_a_change(workspace: Path):
    paths = Paths(workspace, workspace)
    (workspace / "cat.png").write_bytes(picture(1))
    write(workspace / "a.jsonl", [{"query": "<image>?", "response": "a cat", "images": ["cat.png"]}])
    fetch.run(params(), paths)
    assert fetch.up_to_date(params(), paths) and not fetch.changes(params(), paths)
    before = contents(workspace)
    (workspace / "cat.png").write_bytes(picture(2))
    assert not fetch.up_to_date(params(), paths)
    assert fetch.changes(params(), paths) == [f"{workspace / 'cat.png'} changed"]
    fetch.run(params(), paths)
    assert fetch.up_to_date(params(), paths)
    changed = {name for name, body in contents(workspace).items() if before[name] != body}
    assert changed == {"data/raw/train.parquet", "data/raw/media.json", "data/raw/manifest.json"}


def test_kept_media_are_what_validate_looks_into(workspace: Path):
    paths = Paths(workspace, workspace)
    (workspace / "cat.png").write_bytes(picture(1))
    url = f"data:image/png;base64,{b64encode(picture(2)).decode()}"
    rows = [{"query": "<image>?", "response": "a cat", "images": [image]} for image in ("cat.png", url, "gone.png")]
    write(workspace / "a.jsonl", rows)
    fetch.run(params(dataset=["a.jsonl"]), paths)
    assert len([*paths.media.iterdir()]) == 1
    assert validate.run(params(), paths) == {"train": 2, "val": 0, "dropped": 1}
    report = json.loads((workspace / "reports/data.json").read_text())
    assert [found["check"] for found in report["rejected"]] == ["media_missing"]
