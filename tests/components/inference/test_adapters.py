"""Adapters that do not fit their base are refused by the headers of their files."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.errors import ConfigError, MartletError
from components.inference.adapters import is_zero, require_fit

FIRST = "base_model.model.model.layers.0.mlp.down_proj.lora_A.weight"


@pytest.fixture
def adapter(tiny_model: Path, tmp_path: Path) -> Path:
    """A LoRA of rank 4, and 6 on one kind of layer, as peft saves it."""
    return save(tiny_model, tmp_path / "adapter", target_modules="all-linear", rank_pattern={"q_proj": 6})


def save(model: Path, folder: Path, **options: Any) -> Path:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model)
    get_peft_model(base, LoraConfig(r=4, **options)).save_pretrained(folder)
    return folder


def rewrite(folder: Path, change: Any) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "adapter_model.safetensors")
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / "adapter_model.safetensors")


def test_the_rank_of_an_adapter_that_fits(tiny_model: Path, adapter: Path) -> None:
    assert require_fit(tiny_model, adapter) == 6


def test_packed_weights_are_compared_by_name(tiny_model: Path, adapter: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    packed = tmp_path / "packed"
    packed.mkdir()
    tensors = load_file(tiny_model / "model.safetensors")
    save_file(
        {name.replace("_proj.weight", "_proj.qweight"): tensor[:2] for name, tensor in tensors.items()},
        packed / "model.safetensors",
    )
    assert require_fit(packed, adapter) == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update({FIRST.replace("down", "other"): t.pop(FIRST)}), r"other_proj.lora_A.weight has no place"),
        (
            lambda t: t.update({FIRST: t[FIRST][:, :-1]}),
            f"{FIRST} is for a matrix of 64 x 127, and",
        ),
        (lambda t: t.update({FIRST: t[FIRST][:-1]}), "lora_B.weight has rank 4, and lora_A has 3"),
        (lambda t: t.pop(FIRST), f"{FIRST} is missing"),
        (lambda t: t.clear(), "holds no tensors"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused_by_its_first_tensor(
    tiny_model: Path, adapter: Path, change: Any, message: str
) -> None:
    rewrite(adapter, change)
    with pytest.raises(MartletError, match=message):
        require_fit(tiny_model, adapter)


def test_a_truncated_file_and_a_folder_without_one_are_refused(tiny_model: Path, adapter: Path) -> None:
    file = adapter / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(MartletError, match="was the file copied whole"):
        require_fit(tiny_model, adapter)
    file.unlink()
    with pytest.raises(MartletError, match=r"there is no adapter_model\.safetensors"):
        require_fit(tiny_model, adapter)
    with pytest.raises(ConfigError, match="not an adapter folder"):
        require_fit(tiny_model, tiny_model)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"use_dora": True}, "LORA with use_dora"),
        ({"modules_to_save": ["lm_head"]}, "LORA with modules_to_save"),
        ({"peft_type": "LOKR"}, "LOKR"),
        ({"bias": "all"}, "bias"),
    ],
)
def test_what_engines_do_not_apply_is_refused(tiny_model: Path, adapter: Path, change: dict, what: str) -> None:
    file = adapter / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(ConfigError, match=f"plain LoRA, not {what}; merge it"):
        require_fit(tiny_model, adapter)


def test_an_adapter_before_the_first_step_is_zero(adapter: Path) -> None:
    assert is_zero(adapter)
    rewrite(adapter, lambda tensors: tensors[FIRST.replace("_A", "_B")].fill_(1e-9))
    assert not is_zero(adapter)
