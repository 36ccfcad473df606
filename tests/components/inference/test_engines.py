"""Engines as files: found by name, ready on entry, gone on exit."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from components.config.groups.template import Template
from components.errors import ConfigError, MartletError
from components.inference import ENGINES, ServeSettings
from tasks.loading import load_beside as load
from tasks.prompts import prompts


def asked_of(tokenizer: Any, adapter: Path | None) -> Any:
    return prompts(Template())(tokenizer)


USERS_ENGINE = """
from contextlib import contextmanager

@contextmanager
def served(model, adapters, settings):
    yield f"http://127.0.0.1:1/{model.name}/{settings.names[0]}/v1"
"""


def test_the_built_in_engine_serves_a_folder_until_the_end_of_the_block(lively_model: Path) -> None:
    settings = ServeSettings(load, asked_of, ["lively", "again"], api_key="sesame", max_model_len=512)
    key = {"Authorization": "Bearer sesame"}
    with ENGINES.load("transformers").served(lively_model, {}, settings) as url:
        models = httpx.get(f"{url}/models", headers=key).json()["data"]
        assert [(model["id"], model["max_model_len"]) for model in models] == [("lively", 512), ("again", 512)]
        assert httpx.get(f"{url}/models").status_code == 401
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/models", headers=key)


def test_a_model_that_cannot_answer_is_not_ready(lively_model: Path) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the weights are gone")

    def load_broken(model: Path, adapters: list[Path | None]) -> tuple:
        (loaded,), tokenizer = load(model, adapters)
        loaded.register_forward_pre_hook(fail)
        return [loaded], tokenizer

    settings = ServeSettings(load_broken, asked_of, ["broken"])
    with (
        pytest.raises(MartletError, match="cannot answer with this model"),
        ENGINES.load("transformers").served(lively_model, {}, settings),
    ):
        pass


def test_engines_by_name() -> None:
    assert ENGINES.names() == ["lmdeploy", "pt", "sglang", "transformers", "vllm"]
    assert ENGINES.load("transformers").served is ENGINES.load("pt").served
    with pytest.raises(ConfigError, match="did you mean 'transformers'"):
        ENGINES.load("transformer")


def test_a_users_file_is_an_engine(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(USERS_ENGINE)
    assert "mine" in ENGINES.names(external=[file])
    with ENGINES.load("mine", external=[file]).served(tmp_path, [], ServeSettings(load, asked_of, ["m"])) as url:
        assert url == f"http://127.0.0.1:1/{tmp_path.name}/m/v1"


def test_a_users_file_that_serves_nothing_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "empty.py"
    file.write_text("")
    with pytest.raises(ConfigError, match="not a complete engine: `served` missing"):
        ENGINES.load("empty", external=[file])
