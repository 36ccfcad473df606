"""`martlet models`: the list, searching, and what is said where nothing matches."""

import json
from pathlib import Path

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


def test_what_a_model_takes_beside_text_and_how_it_has_boxes_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(shown(capsys, "Qwen2.5-VL-7B-Instruct", "--json"))
    boxes = {
        "coordinates": "pixels of the resized picture",
        "reference": "<|object_ref_start|>NAME<|object_ref_end|>",
        "box": "<|box_start|>(x,y),(x,y)<|box_end|>",
    }
    first = {name: found[0][name] for name in ("takes", "boxes", "notes", "native")}
    assert first == {"takes": ["image", "video"], "boxes": boxes, "notes": ["needs torchvision"], "native": True}
    text = shown(capsys, "qwen2_audio")
    assert "qwen2_audio: takes text, audio\n  a sound is heard for 30 s\n" in text
    assert "thousandths" in shown(capsys, "llava1_5_hf")


def test_what_is_known_of_classes_is_what_was_tried() -> None:
    """docs/multimodal-types.md has what each class of transformers took here."""
    page = (Path(__file__).parents[2] / "docs/multimodal-types.md").read_text().partition("## What does not pass")[0]
    tried = {tuple(line.strip("| ").split(" | ")) for line in page.splitlines() if line.startswith("|")}
    types = {model_type: takes.split(", ") for model_type, _, takes in (row for row in tried if len(row) == 3)}
    for name, media in catalogue.classes().items():
        if media.model_type in types:
            assert list(media.takes) == types[media.model_type], name
    native = [model for model in catalogue.listed() if model.media and model.is_native]
    assert len(native) >= 150
    assert all(model.media and model.media.model_type for model in native)


def test_what_transformers_lacks_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    natives = {model.architecture: model.is_native for model in catalogue.listed()}
    assert (natives["LlamaForCausalLM"], natives["QWenLMHeadModel"], natives[""]) == (True, False, None)
    assert "own code" in shown(capsys, "QWenLMHeadModel")


def test_a_search_without_a_result_names_what_is_near() -> None:
    with pytest.raises(ConfigError, match=r"no listed model has all of: chat mistrl; mistrl \(did you mean 'mistral'"):
        dispatch(["models", "chat", "mistrl"])
