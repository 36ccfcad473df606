"""Tiny models made in code; nothing is downloaded."""

import atexit
import gc
import os
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import components  # noqa: F401 - before transformers: torchvision is imported by its rules
from tasks.stages.environment import prepare_environment

prepare_environment()
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two tests run side by side, and equal runs must have equal sums
os.environ["MARTLET_CACHE"] = tempfile.mkdtemp(prefix="martlet-test-cache-")
atexit.register(shutil.rmtree, os.environ["MARTLET_CACHE"], ignore_errors=True)

# Continuous integration tries the same examples each time; by hand new ones are found. No test fails on a time.
settings.register_profile("default", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("default")


FOLDERS = ("pipeline", "flows", "tasks", "apps")
"""Folders of tests that take longest, in this order; the rest fills the gaps at the end."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark further cases of tests with `quick_cases` as slow, and begin with the folders whose tests take longest."""
    cases = Counter[str]()
    for item in items:
        name = item.nodeid.partition("[")[0]
        cases[name] += 1
        if any(cases[name] > mark.args[0] for mark in item.iter_markers("quick_cases")):
            item.add_marker(pytest.mark.slow)
    places = {folder: place for place, folder in enumerate(FOLDERS)}
    items.sort(key=lambda item: places.get(item.path.relative_to(Path(__file__).parent).parts[0], len(places)))


NICE = os.nice(0)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Leave the cores to the pipeline: one worker takes a whole one through, and the others would wait for it."""
    if FOLDERS[0] not in item.path.parts and os.nice(0) == NICE:
        os.nice(5)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give each file of tests to one worker, and all tests of flows, which share a Prefect server."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "tests/flows" if nodeid.startswith("tests/flows/") else super()._split_scope(nodeid)

    return Scheduling(config, log)


def pytest_collection_finish() -> None:
    """Keep the garbage collector away from what was imported: each training looks for garbage."""
    gc.freeze()


CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Qwen3 of 64 x 2 and a byte-level tokenizer with a ChatML template."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast
    from transformers.models.qwen3 import Qwen3Config, Qwen3ForCausalLM

    folder = tmp_path_factory.mktemp("tiny") / "model"
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(["system user assistant You are a helpful assistant. What is your name?"] * 4, trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<|im_end|>", pad_token="<|endoftext|>", chat_template=CHATML
    )
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sighted_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Qwen2-VL and its processor."""
    from tests.components.media.models import sighted

    return sighted(tmp_path_factory.mktemp("sighted") / "model")


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with an empty MLflow store, to be copied: MLflow takes seconds to make its tables."""
    from components.registry.store import connected

    folder = tmp_path_factory.mktemp("store") / "workspace"
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        with connected(folder):
            return folder
