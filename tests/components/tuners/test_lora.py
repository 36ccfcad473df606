"""LoRA: on the layers that were asked for, equal from equal seeds, and loaded entirely or not at all. Its first values
by LoftQ: nearer to the weights than the quantized base alone."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel, Qwen3ForCausalLM

from components.config import Params
from components.errors import ConfigError, MartletError
from components.files import sha256_tree
from components.models import load_model, prepared
from components.tuners import TUNERS, _files, _loftq, load, lora

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


def on_bnb(base: Path, first_values: str, tuner: str = "lora", **lora) -> PeftModel:
    """An adapter of rank 4 with its first values, on `base` in 4 bits."""
    groups = {"lora": {"init_weights": first_values, "lora_rank": 4, **lora}, "quantization": {"quant_method": "bnb"}}
    settings, method = params(**groups), TUNERS.load(tuner)
    quantized = prepared(load_model(base, "float32", quantization=settings.quantization), settings.quantization)
    model = method.wrap(quantized, settings, 1)
    method.initialise(model, [])
    return model.eval()


def gpt2(folder: Path) -> Path:
    """A model with Conv1D layers, whose weights are stored the other way round, in several files."""
    torch.manual_seed(0)
    sizes = {"n_layer": 1, "n_embd": 64, "n_head": 4, "vocab_size": 320, "n_positions": 64}
    GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=0)).save_pretrained(folder, max_shard_size="90KB")
    return folder


@pytest.mark.parametrize(
    ("tuner", "settings"), [("lora", {}), ("lora", {"use_rslora": True, "lora_alpha": 3}), ("dora", {}), ("gpt2", {})]
)
def test_loftq_brings_every_layer_nearer_to_its_weight(tiny_model, tmp_path, tuner, settings):
    base = gpt2(tmp_path / "gpt2") if tuner == "gpt2" else tiny_model
    tuner = tuner.replace("gpt2", "lora")
    plain = load_model(base, "float32").eval()
    model = on_bnb(base, "loftq", tuner, **settings)
    layers = [(n, m) for n, m in model.get_base_model().named_modules() if isinstance(m, LoraLayer)]
    with torch.no_grad():
        for name, layer in layers:
            weight = plain.get_submodule(name).weight
            residual = (weight.T if base != tiny_model else weight) - _loftq.unpacked(layer.base_layer)
            singular = torch.linalg.svdvals(residual)
            left = residual - layer.get_delta_weight("default")
            assert left.norm() < 1.005 * singular[4:].norm(), name  # the least that rank 4 can leave
            assert left.norm() < residual.norm(), name
        models = (plain, on_bnb(base, "true", tuner, **settings), model)
        want, untouched, ours = (it(IDS).logits.log_softmax(-1) for it in models)  # the losses of every next token
        assert (ours - want).abs().mean() < 0.95 * (untouched - want).abs().mean()
        if tuner == "dora":  # whose lengths are those of the weights with A and B
            assert torch.allclose(ours, on_bnb(base, "loftq")(IDS).logits.log_softmax(-1), atol=1e-6)
    assert len(layers) == (4 if base != tiny_model else 2 * len(LINEAR))


def test_an_adapter_by_loftq_is_like_any_other(tiny_model, tmp_path):
    model = on_bnb(tiny_model, "loftq")
    lora.save(model, tmp_path, "owner/base")
    assert json.loads((tmp_path / "adapter_config.json").read_text())["init_lora_weights"] is True
    quantization = params(quantization={"quant_method": "bnb"}).quantization
    base = load_model(tiny_model, "float32", quantization=quantization)
    with torch.no_grad():
        assert torch.equal(PeftModel.from_pretrained(base, tmp_path).eval()(IDS).logits, model(IDS).logits)


def test_loftq_without_the_weights_that_were_quantized_is_one_sentence(tiny_model, tmp_path):
    base = shutil.copytree(tiny_model, tmp_path / "base")
    model = on_bnb(base, "true")
    name = "model.layers.1.mlp.up_proj.weight"
    weights = load_file(base / "model.safetensors")
    for changed in ({name: weights[name].T.contiguous()}, {name: weights[name].flip(0)}, {name + "s": weights[name]}):
        left = {key: value for key, value in weights.items() if key != name}
        save_file({**left, **changed}, base / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(ConfigError, match=r"not have the weight of model\.layers\.1\.mlp\.up_proj as it was quan"):
            _loftq.initialise(model)
    plain = lora.wrap(Qwen3ForCausalLM.from_pretrained(tiny_model), params(lora={"init_weights": "loftq"}), 1)
    with pytest.raises(ConfigError, match="no target layer is quantized"):
        lora.initialise(plain, [])
