"""Full training: all weights learn, and a whole model is saved."""

from pathlib import Path

import pytest
import torch
from transformers import Qwen3ForCausalLM

from components.config import Params
from components.errors import ConfigError, MartletError
from components.tuners import full

IDS = torch.arange(2, 20)[None]


def test_every_weight_learns_and_comes_back(tiny_model: Path, tmp_path: Path):
    model = full.wrap(Qwen3ForCausalLM.from_pretrained(tiny_model).requires_grad_(False), Params(), 1).eval()
    assert all(p.requires_grad for p in model.parameters())
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.add_(0.1)
        logits = model(IDS).logits
        full.save(model, tmp_path)
        base = Qwen3ForCausalLM.from_pretrained(tiny_model)
        assert not torch.equal(base(IDS).logits, logits)
        loaded = full.load(base, tmp_path)
        assert torch.equal(full.merge(loaded)(IDS).logits, logits)
        full.restore(base, tmp_path)
        assert torch.equal(base(IDS).logits, logits)


def learning(tiny_model: Path, **freezing) -> set[str]:
    model = full.wrap(Qwen3ForCausalLM.from_pretrained(tiny_model), Params.model_validate({"freezing": freezing}), 1)
    return {name for name, weight in model.named_parameters() if weight.requires_grad}


def test_weights_are_frozen_by_beginnings_patterns_and_a_share_and_named_ones_learn_all_the_same(tiny_model: Path):
    every = learning(tiny_model)
    embeddings, first = "model.embed_tokens.weight", {name for name in every if "layers.0" in name}
    assert learning(tiny_model, freeze_parameters=["model.layers.0", "lm_head"]) == every - first - {embeddings}
    assert learning(tiny_model, freeze_parameters_regex=r"layers\.\d+\.mlp") == {n for n in every if "mlp" not in n}
    sizes = {name: weight.numel() for name, weight in Qwen3ForCausalLM.from_pretrained(tiny_model).named_parameters()}
    share = sizes[embeddings] / sum(sizes.values())
    assert learning(tiny_model, freeze_parameters_ratio=share + 1e-9) == every - {embeddings}
    assert learning(tiny_model, freeze_parameters_ratio=share - 1e-4) == every
    norm = {"trainable_parameters": ["model.norm"], "trainable_parameters_regex": "q_proj"}
    assert learning(tiny_model, freeze_parameters=["model"], **norm) == {
        name for name in every if name.startswith("model.norm") or "q_proj" in name
    }


@pytest.mark.parametrize(
    ("freezing", "message"),
    [
        ({"freeze_parameters": ["model.layers.0.mpl"]}, "no weight's name begins with 'model.layers.0.mpl'"),
        ({"trainable_parameters": ["model.nrom"]}, "did you mean 'model.norm'"),
        (
            {"freeze_parameters_regex": "q_prj"},
            "freeze_parameters_regex: 'q_prj' is in no weight's name; .*model.embed",
        ),
        ({"trainable_parameters_regex": "("}, "trainable_parameters_regex: '.' is no regular expression"),
        ({"freeze_parameters": [""]}, "no weight is left to learn"),
    ],
)
def test_a_name_that_means_no_weight_is_refused(tiny_model: Path, freezing: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        learning(tiny_model, **freezing)


def test_another_model_is_refused(tiny_model: Path, tmp_path: Path):
    base = Qwen3ForCausalLM.from_pretrained(tiny_model)
    with pytest.raises(ConfigError, match="not quantized"):
        full.wrap(base, Params.model_validate({"quantization": {"quant_method": "bnb"}}), 1)
    with pytest.raises(ConfigError, match=r"no model\.safetensors"):
        full.load(base, tmp_path)
    config = Qwen3ForCausalLM.config_class.from_pretrained(tiny_model)
    config.num_hidden_layers, config.layer_types = 1, config.layer_types[:1]
    Qwen3ForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(MartletError, match="do not fit"):
        full.load(base, tmp_path)
