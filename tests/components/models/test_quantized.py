"""Quantized bases, as published and quantized while loaded: an adapter learns on each, and comes back as it was."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3ForCausalLM

from components.config import Params
from components.config.groups.quantization import Quantization
from components.errors import ConfigError
from components.models import QUANTIZATIONS, load_model, prepared, quantization, stored_quantization
from components.towers import Parts
from components.tuners import TUNERS
from tests.components.models.quantized import FORMATS, published

IDS = torch.arange(2, 20)[None]
WHILE_LOADING: dict[str, tuple[dict[str, Any], float]] = {
    "bnb 4": ({"quant_method": "bnb", "bnb_4bit_compute_dtype": "bfloat16"}, 0.2),
    "bnb 8": ({"quant_method": "bnb", "quant_bits": 8}, 0.02),
    "hqq 4": ({"quant_method": "hqq"}, 0.1),
    "hqq 3": ({"quant_method": "hqq", "quant_bits": 3, "hqq_axis": 0, "hqq_group_size": 32}, 0.2),
    "quanto 8": ({"quant_method": "quanto", "quant_bits": 8}, 0.01),
    "torchao 4": ({"quant_method": "torchao"}, 0.1),
    "torchao 8": ({"quant_method": "torchao", "quant_bits": 8}, 0.01),
}
"""Parameters, and how far the logits may be from those of the plain model."""
PUBLISHED = {"gptq": 0.1, "awq": 0.1, "compressed-tensors": 0.1, "fp8": 0.05, "aqlm": 9.0}


class Base:
    """A quantized base; each call loads it anew."""

    def __init__(self, folder: Path, **params: Any) -> None:
        self.folder, self.params = folder, Quantization(**params)
        stored = json.loads((folder / "config.json").read_text()).get("quantization_config")
        if sentences := quantization.problems(stored, self.params):
            pytest.skip(sentences[0])

    def __call__(self) -> Any:
        return prepared(load_model(self.folder, "float32", quantization=self.params), self.params)


@pytest.fixture(params=[*WHILE_LOADING, *PUBLISHED])
def base_and_tolerance(request: pytest.FixtureRequest, tiny_model: Path, tmp_path: Path) -> tuple[Base, float]:
    if request.param in WHILE_LOADING:
        params, tolerance = WHILE_LOADING[request.param]
        return Base(tiny_model, **params), tolerance
    return Base(published(tiny_model, tmp_path / "base", request.param)), PUBLISHED[request.param]


def learn(base: Base, evaluate: bool = False, tuner: str = "lora") -> Any:
    """Two steps of plain gradient descent on an adapter."""
    params = Params.model_validate({"lora": {"lora_rank": 4, "lora_dropout": 0}})
    model = TUNERS.load(tuner).wrap(base(), params, 1)
    for _ in range(2):
        if evaluate:
            logits(model)
        model.train()(input_ids=IDS, labels=IDS).loss.backward()
        with torch.no_grad():
            for weight in model.parameters():
                if weight.grad is not None:
                    weight -= weight.grad
                    weight.grad = None
    return model


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model.eval()(IDS).logits


@pytest.mark.parametrize("method", ["bnb 4", "bnb 8", "hqq 4", "torchao 8"])
def test_towers_and_aligner_stay_as_they_are(method: str, sighted_model: Path) -> None:
    base = Base(sighted_model, **WHILE_LOADING[method][0])()
    plain, parts = load_model(sighted_model, "float32"), Parts(base)
    kinds: dict[str, set[bool]] = {}
    for name, layer in base.named_modules():
        if isinstance(linear := plain.get_submodule(name), torch.nn.Linear):
            weight = getattr(layer, "weight", None)
            is_plain = type(weight) is torch.nn.Parameter and torch.equal(weight, linear.weight)
            kinds.setdefault("head" if name == "lm_head" else parts.of(name), set()).add(is_plain)
    assert kinds == {"vit": {True}, "aligner": {True}, "llm": {False}, "head": {True}}


def test_an_adapter_learns_and_comes_back_as_it_was(
    base_and_tolerance: tuple[Base, float], tiny_model: Path, tmp_path: Path
) -> None:
    base, tolerance = base_and_tolerance
    plain = Qwen3ForCausalLM.from_pretrained(tiny_model)
    untrained = logits(base())
    assert untrained.dtype == torch.float32
    assert 1e-5 < (untrained - logits(plain)).abs().max() < tolerance
    model, evaluated = learn(base), learn(base, evaluate=True)
    assert (logits(model) - untrained).abs().max() > 0.1
    assert torch.equal(logits(evaluated), logits(model))  # an evaluation leaves the base as it is
    TUNERS.load("lora").save(model, tmp_path / "adapter")
    assert torch.equal(logits(TUNERS.load("lora").load(base(), tmp_path / "adapter")), logits(model))


def test_gradients_pass_through_the_base_also_after_an_evaluation(base_and_tolerance: tuple[Base, float]) -> None:
    base, _ = base_and_tolerance
    embedded = base().get_input_embeddings()(IDS).detach()
    gradients = []
    for evaluate in (False, True):
        model, inputs = base(), embedded.clone().requires_grad_()
        if evaluate:
            logits(model)
        model.train()(inputs_embeds=inputs).logits.sum().backward()
        gradients.append(inputs.grad)
    assert gradients[0].abs().sum() > 0
    assert torch.equal(*gradients)


@pytest.mark.parametrize("method", FORMATS)
def test_a_folder_says_what_its_weights_are_quantized_by(tiny_model: Path, tmp_path: Path, method: str) -> None:
    assert stored_quantization(published(tiny_model, tmp_path / "base", method)) == method


def test_what_cannot_be_loaded_is_a_sentence(tiny_model: Path, tmp_path: Path) -> None:
    def said(stored: dict[str, Any] | None = None, external: tuple[Path, ...] = (), **params: Any) -> str:
        return "\n".join(quantization.problems(stored, Quantization(**params), external))

    assert said(quant_method="bnb", quant_bits=3) == "quant_bits: bnb has 4 or 8 bits, not 3; add --quant_bits 8"
    assert "quanto has 8 bits, not 4; add --quant_bits 8" in said(quant_method="quanto")
    assert "eetq runs on an accelerator, and this machine has none" in said(quant_method="eetq", quant_bits=8)
    assert "a base quantized by eetq runs on an accelerator" in said({"quant_method": "eetq"})
    assert "quantized already, by gptq; leave --quant_method out" in said({"quant_method": "gptq"}, quant_method="bnb")
    assert "take the plain model and --quant_method hqq" in said({"quant_method": "hqq"})
    assert said({"load_in_4bit": True}) == said({"quant_method": "unheard of"}) == said() == ""
    (sentence,) = quantization.untrainable({"quant_method": "aqlm", "nbits_per_codebook": 8})
    assert "no backward pass on a CPU" in sentence
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        'MODULES = ("no_such_module", "torch")\nINSTALL = ("no-such>=1",)\n'
        "def config(params, dtype): ...\ndef prepare(model): ...\n"
    )
    sentence = said(None, (plugin,), quant_method="mine")
    assert "needs no_such_module, not installed here; install with: " in sentence
    assert sentence.endswith("-m pip install 'no-such>=1'")
    with pytest.raises(ConfigError, match="needs no_such_module"):
        load_model(tiny_model, quantization=Quantization(quant_method="mine"), external=[plugin])


def test_a_group_that_does_not_divide_the_weights_is_named(tiny_model: Path) -> None:
    base = Base(tiny_model, quant_method="hqq", hqq_group_size=48)
    with pytest.raises(ConfigError, match=r"hqq_group_size: 48 does not divide the 4096 weights of model\.layers\.0"):
        base()


def test_what_a_sentence_installs_is_what_an_extra_installs() -> None:
    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())["project"]
    extras = {tuple(packages) for packages in project["optional-dependencies"].values()}
    published = {needs.install for needs in quantization.PUBLISHED.values()}
    while_loading = {QUANTIZATIONS.constant(name, "INSTALL", ()) for name in ("hqq", "quanto", "torchao")}
    assert published | while_loading <= extras
