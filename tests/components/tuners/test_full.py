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
