"""A model whose greedy answers are lively (large random weights), its engine, and its server; one of each."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.inference import LocalEngine, serving
from tests.components.inference.local import local_engine


@pytest.fixture(scope="session")
def lively_model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("lively") / "model"
    config = Qwen3Config.from_pretrained(tiny_model)
    config.initializer_range = 0.3
    torch.manual_seed(1)
    Qwen3ForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def engine(lively_model: Path) -> Iterator[LocalEngine]:
    engine = local_engine(lively_model)
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def url(engine: LocalEngine) -> Iterator[str]:
    with serving({"lively": engine, "again": engine}) as url:
        yield url


@pytest.fixture(scope="session")
def client(url: str) -> Any:
    from openai import OpenAI

    return OpenAI(base_url=url, api_key="unused", max_retries=0)


@pytest.fixture
def folder_of(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Returns the model's folder under a name, which decides how the toy program answers; logs go beside it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    def link(way: str) -> Path:
        (tmp_path / way).symlink_to(tiny_model)
        return tmp_path / way

    return link
