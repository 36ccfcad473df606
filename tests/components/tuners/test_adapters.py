"""What every adapter has to do: learn on its layers alone, come back as it was, and merge where it can."""

from pathlib import Path

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import Qwen3ForCausalLM

from components.config import Params
from components.tuners import TUNERS

IDS = torch.arange(2, 20)[None]
ADAPTERS = ["boft", "dora", "fourierft", "ia3", "loha", "lokr", "lora", "oft", "vera"]


def trained(tiny_model: Path, name: str, **tuner):
    """A model whose adapter does something, made by one step of plain gradient descent."""
    params = Params.model_validate({"lora": {"lora_rank": 4, "lora_dropout": 0}, "tuner": tuner})
    model = TUNERS.load(name).wrap(Qwen3ForCausalLM.from_pretrained(tiny_model), params, 1).train()
    for _ in range(2):  # LoRA's A has no gradient while B is zero
        model(input_ids=IDS, labels=IDS).loss.backward()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.grad is not None:
                    weight -= weight.grad
                    weight.grad = None
    return model.eval()


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_comes_back_as_it_was_and_merges(tiny_model: Path, tmp_path: Path, name: str):
    method, model, again = TUNERS.load(name), trained(tiny_model, name), trained(tiny_model, name)
    assert {n for n, weight in model.named_parameters() if weight.requires_grad} == {
        n for n, _ in model.named_parameters() if model.base_model.prefix in n
    }
    base = Qwen3ForCausalLM.from_pretrained(tiny_model)
    with torch.no_grad():
        logits = model(IDS).logits
        assert not torch.allclose(base(IDS).logits, logits, atol=1e-3)
        method.save(model, tmp_path)
        loaded = method.load(Qwen3ForCausalLM.from_pretrained(tiny_model), tmp_path)
        assert torch.equal(loaded(IDS).logits, logits)
        method.restore(again, tmp_path)
        assert torch.equal(again(IDS).logits, logits)
        merged = method.merge(loaded)
        assert isinstance(merged, Qwen3ForCausalLM)
        assert torch.allclose(merged(IDS).logits, logits, atol=1e-5)


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_is_on_the_layers_that_were_named(tiny_model: Path, name: str):
    model = trained(tiny_model, name, target_modules=["v_proj", "down_proj"])
    layers = {n.rpartition(".")[2] for n, m in model.named_modules() if isinstance(m, BaseTunerLayer)}
    assert layers == {"v_proj", "down_proj"}


def test_ia3_scales_what_the_end_of_a_feed_forward_block_takes(tiny_model: Path):
    model = trained(tiny_model, "ia3")
    inputs = {n for n, m in model.named_modules() if isinstance(m, BaseTunerLayer) and m.is_feedforward}
    assert {n.rpartition(".")[2] for n in inputs} == {"down_proj"}
