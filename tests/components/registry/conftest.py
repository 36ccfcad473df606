"""One real MLflow store for all tests here; its first use costs seconds. Every test has a model name of its own."""

import itertools
import shutil
from pathlib import Path

import pytest

from components.registry import Version, register

numbers = itertools.count()


@pytest.fixture(scope="session")
def workspace(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(empty_store, tmp_path_factory.mktemp("registry") / "workspace")


@pytest.fixture(autouse=True)
def our_own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def name() -> str:
    return f"model-{next(numbers)}"


def weights(folder: Path, content: str) -> Path:
    """A folder that stands for a model: the registry looks at bytes alone."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.safetensors").write_text(content)
    (folder / "config.json").write_text("{}")
    return folder


def some(name: str, workspace: Path, tmp_path: Path, count: int) -> list[Version]:
    """Register `count` different models."""
    tags = {"variant": "merged"}
    return [register(name, weights(tmp_path / str(n), f"{name} {n}"), workspace, tags=tags) for n in range(count)]
