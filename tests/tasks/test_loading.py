"""The one loader: nothing is served, evaluated or merged from a folder that does not fit tensor by tensor."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from apps.cli.main import dispatch
from components.errors import ConfigError, MartletError
from tasks.loading import load, load_beside

Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def adapter(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder with a LoRA adapter that changes every answer."""
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    folder = tmp_path_factory.mktemp("adapter") / "adapter"
    get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_model), config).save_pretrained(folder)
    arguments = {"model": {"model": str(tiny_model)}, "tuner": {"tuner_type": "lora"}}
    (folder / "args.json").write_text(json.dumps(arguments))
    return folder


def altered(source: Path, folder: Path, change: Callable[[Tensors], Tensors]) -> Path:
    """A copy of a folder with other tensors."""
    shutil.copytree(source, folder)
    (file,) = folder.glob("*.safetensors")
    tensors = {name: tensor.contiguous() for name, tensor in change(load_file(file)).items()}
    save_file(tensors, file, metadata={"format": "pt"})
    return folder


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor([[5, 6, 7, 8]])).logits


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_stored_precision_is_kept_unless_another_is_named(tiny_model: Path, tmp_path: Path, dtype: str) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    AutoModelForCausalLM.from_pretrained(tiny_model, dtype=getattr(torch, dtype)).save_pretrained(folder)
    assert str(load(folder)[0].dtype) == f"torch.{dtype}"
    assert load(folder, torch_dtype="float16")[0].dtype == torch.float16


def test_an_adapter_is_applied_as_in_peft(tiny_model: Path, adapter: Path) -> None:
    plain = AutoModelForCausalLM.from_pretrained(tiny_model)
    untrained = logits(plain)
    expected = logits(PeftModel.from_pretrained(plain, str(adapter)).eval())
    assert torch.equal(logits(load(tiny_model, adapter)[0]), expected)
    assert (expected - untrained).abs().max() > 0.01


def test_the_tokenizer_of_the_checkpoint_is_preferred(tiny_model: Path, adapter: Path, tmp_path: Path) -> None:
    checkpoint = shutil.copytree(adapter, tmp_path / "checkpoint")
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.chat_template = "of the checkpoint"
    tokenizer.save_pretrained(checkpoint)
    assert load(tiny_model, checkpoint)[1].chat_template == "of the checkpoint"
    assert load(tiny_model, adapter)[1].chat_template != "of the checkpoint"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {k: v for k, v in t.items() if "layers.1.mlp.up" not in k}, r"1 missing keys: .*layers\.1\.mlp\.up"),
        (lambda t: t | {"model.layers.9.extra.weight": torch.ones(2, 2)}, r"1 unexpected keys: .*extra"),
        (lambda t: {k: v[:-1] if "layers.0.mlp.up" in k else v for k, v in t.items()}, "weights cannot be loaded"),
    ],
    ids=["missing", "unexpected", "another shape"],
)
@pytest.mark.parametrize("command", ["infer", "deploy --port 0"])
def test_a_folder_that_does_not_fit_is_never_served(
    tiny_model: Path, tmp_path: Path, command: str, change: Any, message: str
) -> None:
    folder = altered(tiny_model, tmp_path / "model", change)
    with pytest.raises(MartletError, match=message):
        dispatch([*command.split(), "--model", str(folder)])


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {k.replace("q_proj", "query"): v for k, v in t.items()},
        lambda t: {k: v for k, v in t.items() if "layers.1" not in k},
        lambda t: {k: v[:, :-1] if "lora_A" in k else v for k, v in t.items()},
        lambda _: {},
    ],
    ids=["other names", "a layer is missing", "truncated", "empty"],
)
def test_an_adapter_that_does_not_apply_is_an_error(
    tiny_model: Path, adapter: Path, tmp_path: Path, change: Any
) -> None:
    with pytest.raises(MartletError, match="the adapter does not fit the model"):
        load(tiny_model, altered(adapter, tmp_path / "broken", change))


def test_an_adapter_of_another_architecture_is_an_error(tiny_model: Path, adapter: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(adapter, tmp_path / "other")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["c_attn"]}))
    with pytest.raises(MartletError, match="does not fit the model"):
        load(tiny_model, folder)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"adapter_model\.safetensors"):
        load(tiny_model, folder)


def test_folders_that_do_not_load(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(MartletError, match="no weights in safetensors format"):
        load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"there is no config\.json"):
        load(folder)
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ConfigError, match="no tokenizer"):
        load(folder)


def test_adapters_are_served_together_if_their_tokenizers_make_the_same_ids(
    tiny_model: Path, adapter: Path, tmp_path: Path
) -> None:
    """A tokenizer that is saved again is another file; one with another token is another tokenizer."""
    again, other = (Path(shutil.copytree(adapter, tmp_path / name)) for name in ("again", "other"))
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    tokenizer.save_pretrained(again)
    (again / "tokenizer.json").write_text(json.dumps(json.loads((again / "tokenizer.json").read_text())))
    assert (again / "tokenizer.json").read_text() != (tiny_model / "tokenizer.json").read_text()
    models, _ = load_beside(tiny_model, [None, adapter, again])
    assert torch.equal(logits(models[1]), logits(models[2]))
    assert not torch.equal(logits(models[0]), logits(models[1]))
    tokenizer.add_tokens(["<tool>"])
    tokenizer.save_pretrained(other)
    with pytest.raises(ConfigError, match=f"{again}, {other}: they have different tokenizers"):
        load_beside(tiny_model, [again, other])
