"""What has changed since the last fetch: files, and branches of a hub, from a hub on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from components.config import Params
from components.config.load import read_mapping, resolve
from tasks import freshness
from tasks.stages import fetch
from tasks.stages.paths import Paths
from tests.components.hub.hub_server import COMMIT, serve

PARAMS = {"dataset": ["owner/name", "a.jsonl"], "use_hf": True}
NEWER = "2" * 40
LOOK = """
import json, sys
from pathlib import Path
from tasks import freshness
from tests.tasks.test_freshness import params
from tasks.stages import fetch
from tasks.stages.paths import Paths
paths = Paths.here()
before = freshness.changes(params(), paths)
if "fetch" in sys.argv:
    freshness.forget_commits(paths)
    fetch.rows(params(), paths)
print(json.dumps([before, freshness.changes(params(), paths)]))
"""


def params(**values: Any) -> Params:
    return resolve(read_mapping(PARAMS | values, "test"))


def row(text: str) -> bytes:
    return json.dumps({"query": text, "response": "yes"}).encode() + b"\n"


def test_a_branch_that_moved_is_told_and_fetched_anew(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(row("a"))
    root = str(Path(__file__).parents[2])
    with serve({"train.jsonl": row("old")}, {NEWER: {"train.jsonl": row("new")}}) as hub:
        environment = os.environ | {
            "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "0", "NO_PROXY": "*", "HF_ENDPOINT": hub.endpoint,
            "PYTHONPATH": root,
        }  # fmt: skip

        def look(*words: str) -> list[list[str]]:
            command = [sys.executable, "-c", LOOK, *words]
            ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
            assert ended.returncode == 0, ended.stderr
            return json.loads(ended.stdout)

        assert look("fetch") == [["nothing was fetched yet"], []]
        hub.branches["main"] = NEWER
        moved = f"owner/name {COMMIT[:7]} → {NEWER[:7]}"
        assert look() == [[moved], [moved]]
        (tmp_path / "a.jsonl").write_bytes(row("other"))
        assert look("fetch") == [["a.jsonl changed", moved], []]
        (source, _) = json.loads((tmp_path / "data/raw/manifest.json").read_text())["sources"]
        assert source["revision"] == NEWER


def test_a_file_that_is_gone_is_an_error_that_names_it(tmp_path: Path) -> None:
    paths = Paths(tmp_path, tmp_path)
    (tmp_path / "a.jsonl").write_bytes(row("a"))
    given = params(dataset=["a.jsonl"])
    fetch.rows(given, paths)
    assert freshness.changes(given, paths) == []
    (tmp_path / "a.jsonl").unlink()
    with pytest.raises(Exception, match=r"dataset 'a\.jsonl': no such file"):
        freshness.changes(given, paths)
