"""What every adapter has to do: learn on its layers alone, come back as it was, and merge where it can."""

from pathlib import Path

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import Qwen3ForCausalLM

from components.config import Params
from components.errors import ConfigError, MartletError
from components.tuners import TUNERS
from tests.components.training.runs import some_rows

IDS = torch.arange(2, 20)[None]
OWN = {
    "adapter": {"adapter": {"adapter_length": 8}},
    "llamapro": {"llamapro": {"llamapro_num_new_blocks": 2}},
    "reft": {"reft": {"reft_layers": [1]}},
}
"""Our own tuners, which put modules into the model, with parameters for two blocks."""
PREFIX = {"prefix": {"num_virtual_tokens": 3}}
FORMS = ("Noreft", "Consreft", "Lobireft", "Direft", "Nodireft")
ADAPTERS = ["adalora", "boft", "dora", "fourierft", "ia3", "loha", "lokr", "lora", "oft", "vera"]


def trained(tiny_model: Path, name: str, groups: dict | None = None, **tuner):
    """A model whose adapter does something, made by two steps of plain gradient descent."""
    params = Params.model_validate({"lora": {"lora_rank": 4, "lora_dropout": 0}, "tuner": tuner, **(groups or {})})
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
        assert not torch.allclose(base(IDS).logits, logits, atol=1e-4)
        method.save(model, tmp_path)
        loaded = method.load(Qwen3ForCausalLM.from_pretrained(tiny_model), tmp_path)
        assert torch.equal(loaded(IDS).logits, logits)
        method.restore(again, tmp_path)
        assert torch.equal(again(IDS).logits, logits)
        merged = method.merge(loaded)
        assert isinstance(merged, Qwen3ForCausalLM)
        assert torch.allclose(merged(IDS).logits, logits, atol=1e-5)


@pytest.mark.parametrize("init", ["gaussian", "orthogonal", "pissa", "olora"])
def test_first_values_change_nothing_and_come_back(tiny_model: Path, tmp_path: Path, init: str):
    base, groups = Qwen3ForCausalLM.from_pretrained(tiny_model), {"lora": {"lora_rank": 4, "init_weights": init}}
    method, params = TUNERS.load("lora"), Params.model_validate(groups)
    with torch.no_grad():
        begun = method.wrap(Qwen3ForCausalLM.from_pretrained(tiny_model), params, 1).eval()
        assert torch.allclose(begun(IDS).logits, base(IDS).logits, atol=1e-4)
    model = trained(tiny_model, "lora", groups)
    with torch.no_grad():
        logits = model(IDS).logits
        assert not torch.allclose(logits, base(IDS).logits, atol=1e-2)
        method.save(model, tmp_path)
        loaded = method.load(Qwen3ForCausalLM.from_pretrained(tiny_model), tmp_path)
        assert torch.equal(loaded(IDS).logits, logits)
        assert torch.allclose(method.merge(loaded)(IDS).logits, logits, atol=1e-5)


@pytest.mark.parametrize("name", ["lora", "dora"])
def test_eva_takes_first_values_and_ranks_from_rows_of_the_run(tiny_model: Path, tmp_path: Path, name: str):
    method, base = TUNERS.load(name), Qwen3ForCausalLM.from_pretrained(tiny_model)
    params = Params.model_validate({"lora": {"lora_rank": 4, "init_weights": "eva", "lora_dropout": 0}})
    rows = [{"input_ids": row["input_ids"], "labels": row["labels"]} for row in some_rows(32)]
    model = method.wrap(Qwen3ForCausalLM.from_pretrained(tiny_model), params, 1).eval()
    layers = sum(isinstance(module, BaseTunerLayer) for module in model.modules())
    method.initialise(model, rows)
    matrices = {n: weight for n, weight in model.named_parameters() if "lora_A" in n}
    ranks = [len(weight) for weight in matrices.values()]
    assert sum(ranks) == 4 * layers
    assert len(set(ranks)) > 1
    for weight in matrices.values():  # directions of what a layer reads
        assert torch.allclose(weight @ weight.T, torch.eye(len(weight)), atol=1e-3)
    with torch.no_grad():
        assert torch.allclose(model(IDS).logits, base(IDS).logits, atol=1e-5)
        for weight in model.parameters():
            if weight.requires_grad:
                weight += 0.01
        logits = model(IDS).logits
        method.save(model, tmp_path)
        loaded = method.load(Qwen3ForCausalLM.from_pretrained(tiny_model), tmp_path)
        assert torch.equal(loaded(IDS).logits, logits)
        again = method.wrap(Qwen3ForCausalLM.from_pretrained(tiny_model), params, 2).eval()
        method.restore(again, tmp_path)
        assert torch.equal(again(IDS).logits, logits)
        method.restore(again, tmp_path)  # as the best checkpoint at the end
        assert torch.equal(again(IDS).logits, logits)
        assert torch.allclose(method.merge(loaded)(IDS).logits, logits, atol=1e-4)


def test_eva_refuses_what_it_cannot_take_directions_from(tiny_model: Path):
    method, params = TUNERS.load("lora"), Params.model_validate({"lora": {"init_weights": "eva"}})
    model = method.wrap(Qwen3ForCausalLM.from_pretrained(tiny_model), params, 1)
    with pytest.raises(ConfigError, match="eva reads 32 learned tokens at a time, and its sample of 1 rows has fewer"):
        method.initialise(model, some_rows(1))
    with pytest.raises(ConfigError, match=r"eva needs 80 inputs for --lora_rank 20, and model\.layers.* has 64; lower"):
        wide = Params.model_validate({"lora": {"init_weights": "eva", "lora_rank": 20}})
        method.wrap(Qwen3ForCausalLM.from_pretrained(tiny_model), wide, 1)


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_adapter_is_on_the_layers_that_were_named(tiny_model: Path, name: str):
    model = trained(tiny_model, name, target_modules=["v_proj", "down_proj"])
    layers = {n.rpartition(".")[2] for n, m in model.named_modules() if isinstance(m, BaseTunerLayer)}
    assert layers == {"v_proj", "down_proj"}


def test_ia3_scales_what_the_end_of_a_feed_forward_block_takes(tiny_model: Path):
    model = trained(tiny_model, "ia3")
    inputs = {n for n, m in model.named_modules() if isinstance(m, BaseTunerLayer) and m.is_feedforward}
    assert {n.rpartition(".")[2] for n in inputs} == {"down_proj"}


@pytest.mark.parametrize(
    ("name", "groups"),
    [
        *OWN.items(),
        *(("reft", {"reft": {"reft_intervention_type": f"{form}Intervention"}}) for form in FORMS),
        *((name, {**groups, "tuner": {"modules_to_save": ["norm"]}}) for name, groups in OWN.items()),
        ("prefix_tuning", PREFIX),
    ],
)
def test_what_cannot_be_merged_comes_back_as_they_were(tiny_model: Path, tmp_path: Path, name: str, groups: dict):
    method, model, again = TUNERS.load(name), trained(tiny_model, name, groups), trained(tiny_model, name, groups)
    with torch.no_grad():
        logits = model(IDS).logits
        method.save(model, tmp_path)
        loaded = method.load(Qwen3ForCausalLM.from_pretrained(tiny_model), tmp_path)
        assert torch.equal(loaded(IDS).logits, logits)
        method.restore(again, tmp_path)
        assert torch.equal(again(IDS).logits, logits)
        cached, recomputed = (loaded.generate(IDS, max_new_tokens=6, use_cache=cache) for cache in (True, False))
        assert torch.equal(cached, recomputed)


@pytest.mark.parametrize(("name", "groups"), OWN.items())
def test_modules_of_our_own_change_nothing_before_they_learn_and_all_of_them_learn(
    tiny_model: Path, name: str, groups: dict
):
    base, params = Qwen3ForCausalLM.from_pretrained(tiny_model), Params.model_validate(groups)
    model = TUNERS.load(name).wrap(Qwen3ForCausalLM.from_pretrained(tiny_model), params, 1)
    with torch.no_grad():
        assert torch.allclose(model(IDS).logits, base(IDS).logits, atol=1e-5)
    model = trained(tiny_model, name, groups)
    before = dict(TUNERS.load(name).wrap(Qwen3ForCausalLM.from_pretrained(tiny_model), params, 1).named_parameters())
    same = {n for n, weight in model.named_parameters() if torch.equal(weight, before[n])}
    assert same == {n for n, weight in model.named_parameters() if not weight.requires_grad}


def test_new_blocks_are_part_of_the_merged_model_and_other_modules_cannot_be(tiny_model: Path, tmp_path: Path):
    model = trained(tiny_model, "llamapro", OWN["llamapro"])
    TUNERS.load("llamapro").merge(model).save_pretrained(tmp_path)
    stored = Qwen3ForCausalLM.from_pretrained(tmp_path)
    assert stored.config.num_hidden_layers == 4
    with torch.no_grad():
        assert torch.equal(stored(IDS).logits, model(IDS).logits)
    for name in ("adapter", "reft", "prefix_tuning"):
        with pytest.raises(MartletError, match="depends on its input; serve it on its base"):
            TUNERS.load(name).merge(trained(tiny_model, name, OWN.get(name, PREFIX)))


@pytest.mark.parametrize(
    ("name", "groups", "message"),
    [
        ("reft", {"reft": {"reft_layers": [1, 2]}}, "reft_layers: 2: the model's blocks are 0 to 1"),
        ("llamapro", {}, "2 blocks of the model do not divide among 4 groups; possible numbers are 1, 2"),
        ("adapter", {"tuner": {"modules_to_save": ["nrom"]}}, "did you mean 'norm'"),
    ],
)
def test_a_place_that_is_not_there_is_named(tiny_model: Path, name: str, groups: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        TUNERS.load(name).wrap(Qwen3ForCausalLM.from_pretrained(tiny_model), Params.model_validate(groups), 1)


def test_the_basis_of_reft_stays_orthonormal_under_weight_decay():
    module = TUNERS.load("reft").Intervention(64, 4, "LoreftIntervention")
    optimizer, hidden = torch.optim.AdamW(module.parameters(), lr=0.1, weight_decay=0.1), torch.randn(2, 3, 64)
    for _ in range(3):
        module(hidden).pow(2).sum().backward()
        optimizer.step()
    assert torch.allclose(module.basis.weight @ module.basis.weight.T, torch.eye(4), atol=1e-5)
    assert not torch.allclose(module(hidden), hidden, atol=0.1)
