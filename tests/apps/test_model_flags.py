"""The flags of `infer` and `deploy` that say how a model is loaded and served, seen in the model itself."""

import json
import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest

from tasks import engines, serving, target
from tests.commands import Command, martlet
from tests.tasks.stages.runs import Run, finished_training

KEEPER = """\
from contextlib import contextmanager

@contextmanager
def served(model, adapters, settings):
    yield settings.load(model, [*adapters.values()] or [None])[0][0]
"""
"""An engine that serves nothing: where others give an address, it gives the model as it was loaded."""
HALVES = """\
from transformers import BitsAndBytesConfig

def config(params, dtype):
    return BitsAndBytesConfig(load_in_8bit=True)

def prepare(model):
    return model
"""
BNB = {"quant_method": "bnb"}
LOADING: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "quant_method": (BNB, {}),
    "quant_bits": ({**BNB, "quant_bits": 8}, BNB),
    "bnb_4bit_quant_type": ({**BNB, "bnb_4bit_quant_type": "fp4"}, BNB),
    "bnb_4bit_compute_dtype": ({**BNB, "bnb_4bit_compute_dtype": "bfloat16"}, BNB),
    "bnb_4bit_use_double_quant": ({**BNB, "bnb_4bit_use_double_quant": False}, BNB),
    "external_plugins": ({"quant_method": "halves"}, {}),
    "attn_impl": ({"attn_impl": "eager"}, {}),
}
HQQ = {"quant_method": "hqq"}
if find_spec("hqq"):
    LOADING |= {"hqq_axis": ({**HQQ, "hqq_axis": 0}, HQQ), "hqq_group_size": ({**HQQ, "hqq_group_size": 32}, HQQ)}
"""Flags with another value, and the flags to compare with."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Run:
    return finished_training(tmp_path_factory.mktemp("run"), tiny_model)


@contextmanager
def inferring(flags: dict[str, Any]) -> Generator[Any]:
    with engines.engine_of(target.find(flags)) as engine:
        yield engine.model  # type: ignore[attr-defined]


@contextmanager
def deploying(flags: dict[str, Any]) -> Generator[Any]:
    with serving.deployed(target.find({**flags, "infer_backend": "keeper"}), None) as model:
        yield model


def layer(model: Any) -> dict[str, Any]:
    """What tells how a linear layer was loaded."""
    linear = model.model.layers[0].self_attn.q_proj
    state = getattr(linear, "quant_state", None) or getattr(linear.weight, "quant_state", None)
    return {
        "attention": model.config._attn_implementation,
        "layer": type(linear).__name__,
        "format": getattr(linear.weight, "quant_type", None),
        "computes in": getattr(linear, "compute_dtype", None),
        "scales quantized": getattr(state, "nested", None),
        "hqq": getattr(linear, "quant_config", None),
    }


@pytest.mark.parametrize("command", [inferring, deploying])
def test_a_model_is_loaded_as_the_flags_say(
    command: Callable[[dict[str, Any]], Any], tiny_model: Path, tmp_path: Path
) -> None:
    for name, text in (("keeper", KEEPER), ("halves", HALVES)):
        (tmp_path / f"{name}.py").write_text(text)
    always = {"model": str(tiny_model), "external_plugins": [str(file) for file in tmp_path.glob("*.py")]}

    def loaded(flags: dict[str, Any]) -> dict[str, Any]:
        with command({**always, **flags}) as model:
            return layer(model)

    before = {json.dumps(flags): loaded(flags) for _, flags in LOADING.values()}
    for name, (flags, without) in LOADING.items():
        assert loaded(flags) != before[json.dumps(without)], name


BATCHES = """\
from contextlib import contextmanager
from dataclasses import replace
from components.inference.engines import transformers

@contextmanager
def served(model, adapters, settings):
    (loaded,), tokenizer = settings.load(model, [None])
    lines = []
    loaded.register_forward_pre_hook(lambda _, __, words: lines.append(len(words["input_ids"])), with_kwargs=True)
    with transformers.served(model, {}, replace(settings, load=lambda *_: ([loaded], tokenizer))) as url:
        lines.clear()
        yield url, lines
"""
"""The built-in engine, with the number of lines in each forward pass beside the address."""


def answer(flags: dict[str, Any], **request: Any) -> httpx.Response:
    """What a model that is deployed with `flags` answers to a request that names no settings but `request`."""
    with serving.deployed(target.find({"port": 0, **flags}), None) as url:
        messages = [{"role": "user", "content": "Who?"}]
        return httpx.post(f"{url}/chat/completions", json={"model": "martlet", "messages": messages, **request})


def test_a_request_without_settings_is_sampled_as_the_flags_say(tiny_model: Path) -> None:
    flags = {"model": str(tiny_model), "max_new_tokens": 16}

    def text(**settings: Any) -> str:
        return answer({**flags, **settings}).json()["choices"][0]["message"]["content"]

    greedy = text(temperature=0)
    assert text(temperature=50) != greedy
    assert text(temperature=50, top_k=1) == greedy
    assert text(temperature=50, top_p=1e-9) == greedy
    assert text(temperature=0, repetition_penalty=100) != greedy


def test_prompt_and_answer_are_no_longer_than_max_model_len(tiny_model: Path) -> None:
    totals = [
        answer({"model": str(tiny_model), **limit}, max_tokens=64).json()["usage"]["total_tokens"]
        for limit in ({"max_model_len": 32}, {})
    ]
    assert totals[0] == 32 < totals[1]


def test_as_many_requests_are_generated_together_as_max_batch_size_says(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "batches.py").write_text(BATCHES)
    widest = {}
    for size in (1, 3):
        flags = {"model": str(tiny_model), "max_batch_size": size, "port": 0}
        plugin = {"infer_backend": "batches", "external_plugins": [str(tmp_path / "batches.py")]}
        engine: Any = serving.deployed(target.find({**flags, **plugin}), None)
        with engine as (url, lines):
            request = {"model": "martlet", "prompt": ["a", "b", "c", "d"], "max_tokens": 30, "temperature": 0}
            assert len(httpx.post(f"{url}/completions", json=request, timeout=60).json()["choices"]) == 4
        widest[size] = max(lines)
    assert widest == {1: 1, 3: 3}


def test_an_adapter_is_merged_then_answers_a_file(trained: Run, tmp_path: Path) -> None:
    """Each of `infer` and `deploy` merges as it is asked to, and `infer` fills the rows of its questions."""
    (tmp_path / "questions.jsonl").write_text('{"query": "Are you {{NAME}} of {{AUTHOR}}?"}\n')
    words = ["--val_dataset", "questions.jsonl", "--result_path", "answers.jsonl", "--max_new_tokens", 4]
    names = ["--model_name", "Robin", "--model_author", "Ann"]
    merge = ["--adapters", trained.paths.adapter, "--merge_lora", "true"]
    assert "1 answers in answers.jsonl" in martlet(tmp_path, "infer", *merge, *words, *names)
    (row,) = map(json.loads, (tmp_path / "answers.jsonl").read_text().splitlines())
    assert row["messages"][0]["content"] == "Are you Robin of Ann?"
    merged = trained.paths.adapter.with_name(f"{trained.paths.adapter.name}-merged")
    assert (merged / "model.safetensors").is_file()
    server = Command(tmp_path, "deploy", *merge, "--port", 0)
    server.up_to(f"serving {merged} as 'martlet' at http")
    os.kill(server.pid, signal.SIGTERM)
    assert f"merged before: {merged}" in server.wait().stdout


def test_an_adapter_is_deployed_on_its_base(trained: Run, tmp_path: Path) -> None:
    (tmp_path / "keeper.py").write_text(KEEPER)
    plugin = {"external_plugins": [str(tmp_path / "keeper.py")]}
    with deploying({"adapters": [str(trained.paths.adapter)], **plugin}) as model:
        assert model.active_adapters == ["default"]


def test_a_merge_by_export_is_checked_and_split_as_the_flags_say(trained: Run, tmp_path: Path) -> None:
    merge = ["export", "--adapters", trained.paths.adapter, "--merge_lora", "true", "--output_dir", "merged"]
    assert "merge_tolerance allows 1e-12" in martlet(tmp_path, *merge, "--merge_tolerance", 1e-12, code=1)
    assert not (tmp_path / "merged").exists()
    martlet(tmp_path, *merge, "--max_shard_size", "100KB")
    assert len(list((tmp_path / "merged").glob("model-*.safetensors"))) > 1
