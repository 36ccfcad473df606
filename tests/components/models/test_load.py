"""Loading: what fits, and one sentence for each thing that does not."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from components.classes import SINGLE, Classes
from components.errors import ConfigError, MartletError
from components.models import classes_in, load_model, load_tokenizer, native_dtype


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


def test_a_model_answers_as_it_did_when_it_was_saved(tiny_model: Path):
    model = load_model(tiny_model)
    weights = load_file(tiny_model / "model.safetensors")
    assert type(model).__name__ == "Qwen3ForCausalLM"
    assert model.dtype == torch.float32
    assert all(torch.equal(dict(model.named_parameters())[name], value) for name, value in weights.items())
    assert load_model(tiny_model, "bfloat16", "eager").config._attn_implementation == "eager"


def test_the_tokenizer_comes_with_its_template(tiny_model: Path):
    tokenizer = load_tokenizer(tiny_model)
    text = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert text == "<|im_start|>user\nhi<|im_end|>\n"


def test_what_a_folder_lacks_is_named(copy: Path, tmp_path: Path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copy / name).unlink()
    with pytest.raises(ConfigError, match="no tokenizer"):
        load_tokenizer(copy)
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(MartletError, match="pickled weights are never loaded"):
        load_model(copy)
    with pytest.raises(ConfigError, match=r"no config\.json"):
        load_model(tmp_path)


def test_a_configuration_that_names_no_architecture_goes_by_its_type(copy: Path):
    config = json.loads((copy / "config.json").read_text())
    del config["architectures"]
    (copy / "config.json").write_text(json.dumps(config))
    assert type(load_model(copy)).__name__ == "Qwen3ForCausalLM"
    for broken in ("{", "[]"):
        (copy / "config.json").write_text(broken)
        with pytest.raises(ConfigError, match=r"config\.json: not a model's configuration"):
            load_model(copy)


def test_weights_that_do_not_fit_are_refused(copy: Path):
    file = copy / "model.safetensors"
    weights = load_file(file)
    name = "model.layers.0.mlp.up_proj.weight"
    for changed, said in (
        ({k: v for k, v in weights.items() if k != name}, "missing keys"),
        ({**weights, "model.extra.weight": torch.zeros(2)}, "unexpected keys"),
        ({**weights, name: torch.zeros(2, 2)}, "cannot be loaded|mismatched keys"),
    ):
        save_file(changed, file, metadata={"format": "pt"})
        with pytest.raises(MartletError, match=said):
            load_model(copy)
    file.write_bytes(b"cut off")
    with pytest.raises(MartletError, match="cannot be loaded"):
        load_model(copy)


def test_weights_that_are_no_numbers_or_integers_are_refused(copy: Path):
    file = copy / "model.safetensors"
    weights = load_file(file)
    name = "model.layers.1.self_attn.q_norm.weight"
    for value, said in ((float("nan"), "holds NaN or infinity"), (float("inf"), "holds NaN or infinity")):
        save_file({**weights, name: torch.full_like(weights[name], value)}, file, metadata={"format": "pt"})
        with pytest.raises(MartletError, match=f"the weight {name} {said}"):
            load_model(copy)
    for dtype in (torch.int64, torch.int8, torch.uint8, torch.bool):
        save_file({**weights, name: weights[name].to(dtype)}, file, metadata={"format": "pt"})
        with pytest.raises(MartletError, match=f"the weight {name} is stored as integers"):
            load_model(copy)


def test_code_from_a_model_folder_is_never_run(copy: Path):
    config = json.loads((copy / "config.json").read_text())
    (copy / "evil.py").write_text("raise SystemExit('ran')")
    config |= {"architectures": ["Evil"], "auto_map": {"AutoModelForCausalLM": "evil.Evil"}}
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match="has no Evil"):
        load_model(copy)


@pytest.mark.parametrize(("accelerator", "native", "expected"), [(False, False, "float32"), (True, True, "bfloat16"),
                                                                 (True, False, "float16")])  # fmt: skip
def test_the_precision_is_the_machines(
    monkeypatch: pytest.MonkeyPatch, accelerator: bool, native: bool, expected: str
) -> None:
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: accelerator)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: accelerator)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native or including_emulation)
    assert native_dtype() == expected


def test_a_head_is_kept_for_its_classes_in_their_order_and_new_for_others(tiny_model: Path, tmp_path: Path):
    own, others = Classes(["b", "a"], SINGLE), (Classes(["a", "b"], SINGLE), Classes(["a", "b", "c"], SINGLE))
    first = load_model(tiny_model, classes=own)
    first.save_pretrained(tmp_path)
    assert classes_in(tmp_path) == own
    assert classes_in(tiny_model) is None
    assert torch.equal(load_model(tmp_path, classes=own).score.weight, first.score.weight)
    for classes in others:
        model = load_model(tmp_path, classes=classes)
        assert model.score.weight.shape == (len(classes.names), 64)
        assert not torch.isclose(model.score.weight[:2], first.score.weight).any()
        assert 0.01 < float(model.score.weight.detach().std()) < 0.03
        assert model.config.id2label == dict(enumerate(classes.names))
    assert not hasattr(load_model(tmp_path, headless=True), "score")
