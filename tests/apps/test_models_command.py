"""`martlet models`: the list, searching, and what is said where nothing matches."""

import json

import pytest

from apps.cli.main import dispatch
from components.errors import ConfigError
from components.models import catalogue


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert dispatch(["models", *words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("width", [80, 160])
def test_all_are_listed_within_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    text = shown(capsys)
    assert max(map(len, text.splitlines())) <= width
    assert f"{len(catalogue.listed())} models" in text
    assert len(catalogue.listed()) > 1000


def test_a_search_finds_what_has_every_word(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(shown(capsys, "QWEN3-8b", "apache", "awq", "--json"))
    assert found == [
        {
            "family": "qwen3",
            "modelscope": "Qwen/Qwen3-8B-AWQ",
            "huggingface": "Qwen/Qwen3-8B-AWQ",
            "architecture": "Qwen3ForCausalLM",
            "modality": "text",
            "quantized": True,
            "licence": "Apache-2.0",
            "native": True,
        }
    ]


def test_what_transformers_lacks_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    natives = {model.architecture: model.is_native for model in catalogue.listed()}
    assert (natives["LlamaForCausalLM"], natives["QWenLMHeadModel"], natives[""]) == (True, False, None)
    assert "own code" in shown(capsys, "QWenLMHeadModel")


def test_a_search_without_a_result_names_what_is_near() -> None:
    with pytest.raises(ConfigError, match=r"no listed model has all of: chat mistrl; mistrl \(did you mean 'mistral'"):
        dispatch(["models", "chat", "mistrl"])
