import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from components.errors import MartletError
from components.inference import GenerationConfig, load_engine
from tests.components.inference.messages import user

GREEDY = GenerationConfig(max_new_tokens=16, temperature=0)


@pytest.fixture(scope="module")
def adapter(lively_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA adapter that changes every answer."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(lively_model), config)
    folder = tmp_path_factory.mktemp("adapter") / "adapter"
    model.save_pretrained(folder)
    return folder


def tensors(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "adapter_model.safetensors")


def altered(adapter: Path, folder: Path, change: Any) -> Path:
    from safetensors.torch import save_file

    shutil.copytree(adapter, folder)
    changed = {k: v.contiguous() for k, v in change(tensors(adapter)).items()}
    save_file(changed, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    return folder


def test_an_adapter_answers_as_in_peft(engine: Any, lively_model: Path, adapter: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    adapted = load_engine(lively_model, adapter)
    ids = engine.encode_chat(user("What is your name?"))
    answer = adapted.submit(ids, GREEDY).result(60).token_ids
    adapted.close()
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(lively_model), str(adapter))
    plain = model.generate(input_ids=torch.tensor([ids]), max_new_tokens=16, do_sample=False)[0, len(ids) :].tolist()
    assert answer == plain[: len(answer)]
    assert answer != engine.submit(ids, GREEDY).result(60).token_ids


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {k.replace("q_proj", "query"): v for k, v in t.items()}, "has no place in the model"),
        (lambda t: {k: v for k, v in t.items() if "layers.1" not in k}, "is not in the file"),
        (lambda t: {k: v[:, :-1] if "lora_A" in k else v for k, v in t.items()}, "does not fit this model"),
        (lambda _: {}, "is not in the file"),
    ],
    ids=["other names", "a layer is missing", "truncated", "empty"],
)
def test_an_adapter_that_does_not_apply_is_an_error(
    lively_model: Path, adapter: Path, tmp_path: Path, change: Any, message: str
) -> None:
    with pytest.raises(MartletError, match=message):
        load_engine(lively_model, altered(adapter, tmp_path / "broken", change))


def test_an_adapter_of_another_architecture_is_an_error(lively_model: Path, adapter: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(adapter, tmp_path / "other")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["c_attn"]}))
    with pytest.raises(MartletError, match="does not fit this model"):
        load_engine(lively_model, folder)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(MartletError, match=r"adapter_model\.safetensors is missing"):
        load_engine(lively_model, folder)
