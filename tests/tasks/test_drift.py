"""The base of a drift report: the rows that today's champion learned, as far as they are known."""

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components import registry
from components.config import Params
from components.files import read_json
from tasks.drift import report
from tasks.stages.paths import Paths


def fetched(folder: Path, *queries: int) -> None:
    """Write the raw rows of a run."""
    (folder / "data/raw").mkdir(parents=True, exist_ok=True)
    lines = [{"source": "a.jsonl", "row": n, "raw": json.dumps({"query": f"{n:03}"})} for n in queries]
    pq.write_table(pa.Table.from_pylist(lines), folder / "data/raw/train.parquet")
    (folder / "data/raw/manifest.json").write_text(json.dumps({"inputs": str(queries)}))


def test_the_rows_are_compared_with_those_of_todays_champion(
    tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(empty_store, tmp_path, dirs_exist_ok=True)
    paths = Paths(tmp_path, tmp_path)
    paths.reports.mkdir()

    def base() -> tuple[int, str]:
        report(Params(), paths, promoted=False)
        written = read_json(paths.reports / "drift.json")
        return written["repeats"]["new"], written["base"]

    def promoted(version: int, champion: int | None, *queries: int) -> None:
        (tmp_path / f"weights{version}").mkdir()
        (tmp_path / f"weights{version}/model.safetensors").write_text(str(version))
        number = registry.register("martlet", tmp_path / f"weights{version}", tmp_path).number
        registry.promote("martlet", number, tmp_path, why="better", over=champion)
        fetched(tmp_path, *queries)
        (paths.reports / "gate.json").write_text(json.dumps({"version": version, "champion": champion}))
        report(Params(), paths, promoted=True)

    fetched(tmp_path, 1, 2)
    assert base() == (0, "themselves, because the rows of no promoted version are known yet")
    promoted(1, None, 1, 2)
    promoted(2, 1, 1, 2, 3)
    assert read_json(paths.reports / "drift.json")["base"] == "those of the champion, version 1"
    assert base() == (0, "those of the champion, version 2")
    registry.rollback("martlet", tmp_path, why="a mistake")
    assert base() == (1, "those of the champion, version 1")
    (tmp_path / ".martlet/rows/1.parquet").unlink()
    assert base()[1].startswith("those of version 2, which was promoted last (the rows of the champion, version 1,")
