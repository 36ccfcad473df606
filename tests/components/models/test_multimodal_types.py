"""Models that see and hear: a tiny one of each type goes through the product's path, from rows with files
to a merged model."""

import re
from pathlib import Path

import pytest

from benchmarks.multimodal_types import TABLE, build, multimodal_types, result_of, take_through

SOME = {
    "qwen2_5_vl": ["image", "video"],
    "llava": ["image"],
    "gemma3": ["image"],
    "qwen2_audio": ["audio"],
}


def passing() -> dict[str, list[str]]:
    """The types that docs/multimodal-types.md lists as passing, and with what."""
    rows = re.findall(r"^\| (\S+) \| \S+ \| (.+) \|$", TABLE.read_text().partition("## What")[0], re.MULTILINE)
    return {name: kinds.split(", ") for name, kinds in rows if name != "type"}


@pytest.mark.quick_cases(2)
@pytest.mark.parametrize("model_type", SOME)
def test_a_model_learns_from_what_it_sees_or_hears(model_type: str) -> None:
    assert result_of(model_type)["media"] == dict.fromkeys(SOME[model_type])


def test_a_model_that_does_not_look_is_found_out(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    build("llava", tmp_path / "base")
    file = tmp_path / "base/model.safetensors"
    weights = load_file(file)
    blind = {name: weight * 0 if "projector" in name else weight for name, weight in weights.items()}
    save_file(blind, file, {"format": "pt"})
    with pytest.raises(AssertionError, match=r"another image changes the logits by 0\.0e"):
        take_through(tmp_path / "base", "image", tmp_path)


def test_a_type_without_pictures_and_sounds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it reads text only"):
        build("mistral4", tmp_path)


@pytest.mark.slow  # minutes: 112 models
@pytest.mark.parametrize("model_type", sorted(multimodal_types()))
def test_the_table_of_the_docs_is_true(model_type: str) -> None:
    media = result_of(model_type)["media"]
    assert [kind for kind, problem in media.items() if problem is None] == passing().get(model_type, [])
