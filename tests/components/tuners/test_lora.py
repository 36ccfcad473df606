"""LoRA: on the layers that were asked for, equal from equal seeds, and loaded entirely or not at all."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from transformers import Qwen3ForCausalLM

from components.config import Params
from components.errors import ConfigError, MartletError
from components.files import sha256_tree
from components.tuners import TUNERS, _files, load, lora

LINEAR = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
IDS = torch.arange(2, 20)[None]


def params(**groups) -> Params:
    return Params.model_validate(groups)


@pytest.fixture
def base(tiny_model: Path) -> Qwen3ForCausalLM:
    return Qwen3ForCausalLM.from_pretrained(tiny_model)


@pytest.fixture(scope="module")
def saved(tiny_model: Path, tmp_path_factory) -> tuple[Path, torch.Tensor]:
    """An adapter that does something, and the logits of the model with it."""
    folder = tmp_path_factory.mktemp("adapter")
    model = lora.wrap(Qwen3ForCausalLM.from_pretrained(tiny_model), params(lora={"lora_rank": 4}), 1).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.linspace(-0.1, 0.1, parameter.numel()).reshape(parameter.shape))
        logits = model(IDS).logits
    lora.save(model, folder, "owner/base")
    return folder, logits


def adapted(model) -> set[str]:
    prefix = "base_model.model."
    return {n.removeprefix(prefix) for n, m in model.named_modules() if isinstance(m, LoraLayer)}


def test_all_linear_is_every_projection_of_every_layer_but_not_the_head(base):
    model = lora.wrap(base, Params(), 1)
    expected = {n for n, m in base.named_modules() if n.rpartition(".")[2] in LINEAR and "lora" not in n}
    assert adapted(model) == expected
    assert len(expected) == 2 * len(LINEAR)
    trained = [n for n, p in model.named_parameters() if p.requires_grad]
    assert trained
    assert all("lora_" in n for n in trained)


def test_some_layers_only(base):
    layers = ["q_proj", "model.layers.1.mlp.up_proj"]
    model = lora.wrap(base, params(tuner={"target_modules": layers}), 1)
    assert adapted(model) == {*(f"model.layers.{i}.self_attn.q_proj" for i in (0, 1)), layers[1]}


@pytest.mark.parametrize("field", ["target_modules", "modules_to_save"])
def test_a_name_that_matches_nothing_is_an_error_that_lists_what_there_is(base, field):
    with pytest.raises(ConfigError, match=f"{field}.*'q_prj'.*did you mean 'q_proj'.*down_proj"):
        lora.wrap(base, params(tuner={field: ["q_prj"]}), 1)


def test_scaling_and_layers_saved_in_full(base, tmp_path):
    model = lora.wrap(
        base, params(lora={"lora_rank": 4, "lora_alpha": 8, "use_rslora": True}, tuner={"modules_to_save": ["norm"]}), 1
    )
    assert next(m for m in model.modules() if isinstance(m, LoraLayer)).scaling["default"] == 8 / 4**0.5
    assert any(p.requires_grad and "modules_to_save" in n for n, p in model.named_parameters())
    lora.save(model, tmp_path)
    assert "base_model.model.model.norm.weight" in load_file(tmp_path / _files.WEIGHTS)


def test_an_embedding_that_the_head_shares_stays_shared_when_it_is_trained(base):
    model = lora.wrap(base, params(tuner={"modules_to_save": ["embed_tokens"]}), 1)
    merged = lora.merge(model)
    assert merged.lm_head.weight is merged.model.embed_tokens.weight


def test_equal_seeds_give_equal_adapters_and_equal_bytes(tiny_model, tmp_path):
    for run, seed in (("a", 7), ("b", 7), ("c", 8)):
        torch.rand(len(run))
        lora.save(lora.wrap(Qwen3ForCausalLM.from_pretrained(tiny_model), Params(), seed), tmp_path / run, "base")
    a, b, c = (sha256_tree(tmp_path / run) for run in "abc")
    assert a == b != c
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["adapter_config.json", _files.WEIGHTS]


def test_what_was_saved_answers_the_same_when_loaded_and_when_merged(base, saved):
    folder, logits = saved
    with torch.no_grad():
        assert not torch.allclose(base(IDS).logits, logits, atol=1e-2)
        loaded = lora.load(base, folder)
        assert torch.equal(loaded(IDS).logits, logits)
        merged = lora.merge(loaded)
        assert isinstance(merged, Qwen3ForCausalLM)
        assert torch.allclose(merged(IDS).logits, logits, atol=1e-5)
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "owner/base"


def test_an_adapter_that_does_not_fit_is_an_error(base, saved, tmp_path):
    folder = Path(shutil.copytree(saved[0], tmp_path / "adapter"))
    weights = load_file(folder / _files.WEIGHTS)
    name = next(iter(weights))
    for changed, said in (
        ({k: v for k, v in weights.items() if k != name}, "1 missing"),
        ({**weights, "base_model.model.other.lora_A.weight": torch.zeros(2)}, "1 unexpected"),
        ({**weights, name: torch.zeros(1, 1)}, "1 of another shape"),
        ({**weights, name: torch.full_like(weights[name], float("nan"))}, "holds integers, NaN or infinity"),
        ({**weights, name: weights[name].long()}, "holds integers, NaN or infinity"),
    ):
        save_file(changed, folder / _files.WEIGHTS)
        with pytest.raises(MartletError, match=said):
            lora.load(base, folder)
        base = base.unload() if hasattr(base, "unload") else base
    (folder / _files.WEIGHTS).unlink()
    with pytest.raises(ConfigError, match="no adapter_model"):
        lora.load(base, folder)


def test_a_tuner_is_known_by_what_it_wrote(base, saved, tmp_path):
    folder, logits = saved
    with torch.no_grad():
        assert torch.equal(load(base, folder)(IDS).logits, logits)
    with pytest.raises(ConfigError, match="no adapter and no trained model there"):
        load(base, tmp_path)


def test_an_unknown_tuner_is_told_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r"there is no tuner 'lorra' \(did you mean 'lora'\?\); .*full, ia3"):
        TUNERS.load("lorra")
