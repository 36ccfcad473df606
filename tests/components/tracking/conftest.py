"""One real MLflow store for all tests here. Every test has a root and an experiment of its own."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from components.config import Params
from components.files import write_json


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tracking")


@pytest.fixture(autouse=True)
def our_own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def params(request: pytest.FixtureRequest) -> dict[str, Any]:
    params = Params().model_dump(mode="json")
    params["tracking"]["experiment_name"] = request.node.name
    params["model"]["model"] = "models/base"
    params["train"]["learning_rate"] = 1e-4
    params["data"]["dataset"] = ["examples/identity.jsonl"]
    return params


def progress(root: Path, stage: str, first: int, last: int) -> None:
    """Append steps `first` to `last` to a stage's progress, a loss of 1 / step."""
    log = root / "logs" / stage
    log.mkdir(parents=True, exist_ok=True)
    with (log / "progress.jsonl").open("a") as file:
        for step in range(first, last + 1):
            entry = {"time": round(time.time(), 3), "step": step, "total_steps": 9, "loss": 1 / step, "note": "text"}
            file.write(json.dumps(entry) + "\n")


def result(root: Path, stage: str, **changes: Any) -> None:
    """Write a stage's result."""
    done = {"stage": stage, "status": "done", "exit_code": 0, "metrics": {"rows": {"train": 7}, "name": "text"}}
    (root / "logs" / stage).mkdir(parents=True, exist_ok=True)
    write_json(
        root / "logs" / stage / "result.json", {**done, "began": round(time.time(), 3), "seconds": 1.5, **changes}
    )
