"""Both hubs' real clients against a stand-in on loopback, and against no hub at all."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from components.data.hubs import training_files
from tests.components.data.hub_server import COMMIT, hub

FILES = {
    "data/train.jsonl": b'{"query": "a", "response": "b"}\n{"query": "c", "response": "d"}\n',
    "data/test.jsonl": b'{"query": "held", "response": "out"}\n',
    "dataset_infos.json": b"{}",
    "README.md": b"---\nlicense: apache-2.0\n---\n# Rows\n",
}
TAKE = """
import json, sys
from components.data.hubs import snapshot
from components.errors import MartletError
try:
    found = snapshot(sys.argv[1], sys.argv[2], sys.argv[3] or None)
    print(json.dumps([[f.read_text() for f in found.files], found.revision, found.licence]))
except MartletError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""
NOBODY = "http://127.0.0.1:9"
HUBS = ["huggingface", "modelscope"]


def take(name: str, repo_id: str, revision: str, endpoint: str, home: Path) -> subprocess.CompletedProcess[str]:
    """Take a snapshot in a process of its own: the clients read their environment when they are imported."""
    homes = {"HF_HOME": "hf", "MODELSCOPE_CACHE": "ms", "MODELSCOPE_HOME": "home"}
    environment = {**os.environ, **{variable: str(home / folder) for variable, folder in homes.items()}}
    environment |= {"HF_ENDPOINT": endpoint, "MODELSCOPE_ENDPOINT": endpoint, "HF_HUB_OFFLINE": "0", "NO_PROXY": "*"}
    words = [sys.executable, "-c", TAKE, name, repo_id, revision]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", HUBS)
def test_a_snapshot_is_taken_at_a_commit_and_then_needs_no_network(name: str, tmp_path: Path):
    expected = [[FILES["data/train.jsonl"].decode()], COMMIT, "apache-2.0"]
    with hub(FILES) as (endpoint, requests):
        first = take(name, "owner/name", "", endpoint, tmp_path)
        assert json.loads(first.stdout or "0") == expected, first.stderr
        assert not any("test.jsonl" in request for request in requests)
        requests.clear()
        again = take(name, "owner/name", COMMIT, endpoint, tmp_path)
        assert json.loads(again.stdout or "0") == expected, again.stderr
        assert not requests
    away = take(name, "owner/name", "", NOBODY, tmp_path)
    assert json.loads(away.stdout or "0") == expected, away.stderr


@pytest.mark.parametrize("name", HUBS)
def test_an_unknown_dataset_and_an_absent_hub_are_explained(name: str, tmp_path: Path):
    with hub(FILES) as (endpoint, _):
        unknown = take(name, "owner/nothing", "", endpoint, tmp_path)
    assert unknown.returncode == 2
    assert "'owner/nothing': no such dataset on " in unknown.stderr and "Traceback" not in unknown.stderr
    began = time.monotonic()
    absent = take(name, "owner/name", "", NOBODY, tmp_path)
    assert absent.returncode == 1 and time.monotonic() - began < 30
    assert f"({NOBODY}) does not answer and no copy is in its cache" in absent.stderr
    assert len(absent.stderr.strip().splitlines()) == 1 and "name a local file" in absent.stderr


@pytest.mark.parametrize("name", HUBS)
def test_a_broken_download_is_not_taken_for_a_small_dataset(name: str, tmp_path: Path):
    two = {**FILES, "data/train-2.jsonl": b'{"query": "e", "response": "f"}\n'}
    with hub(two) as (endpoint, _):
        assert take(name, "owner/name", "", endpoint, tmp_path).returncode == 0
    (gone,) = tmp_path.glob("*/**/snapshots/*/data/train-2.jsonl")
    gone.unlink()
    absent = take(name, "owner/name", COMMIT, NOBODY, tmp_path)
    assert absent.returncode == 1 and "does not answer" in absent.stderr


def test_a_repository_without_rows(tmp_path: Path):
    with hub({"README.md": b"# nothing", "model.bin": b"x"}) as (endpoint, _):
        found = take("modelscope", "owner/name", "", endpoint, tmp_path)
    assert found.returncode == 2 and "holds no file of rows" in found.stderr


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["a.json", "README.md", "x.bin"], ["a.json"]),
        (["train.csv", "train.jsonl", "test.jsonl"], ["train.jsonl"]),
        (
            ["b/train-00001.parquet", "b/train-00000.parquet", "b/validation.parquet"],
            ["b/train-00000.parquet", "b/train-00001.parquet"],
        ),
        (["zh.jsonl", "en.jsonl", "dev.jsonl"], ["en.jsonl", "zh.jsonl"]),
        (["test.jsonl"], ["test.jsonl"]),
        (["dataset_infos.json", ".x.json"], []),
    ],
)
def test_which_files_hold_training_rows(names: list[str], chosen: list[str]):
    assert training_files(names) == chosen
