"""Two processes on this machine that divide the tokens of each row: the losses of one, resume, and refusals."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from benchmarks.tiny_models import tiny
from components.errors import ConfigError
from tests.tasks.stages.test_workers import figures, run

FLAGS: dict[str, Any] = {"max_steps": 12, "save_steps": 6}
TWO: dict[str, Any] = {"nproc_per_node": 2, "sequence_parallel_size": 2}
FOUR: dict[str, Any] = {"nproc_per_node": 4, "sequence_parallel_size": 2, "group_by_length": True}


def model_folder(model: Any, tokenizer: Path, folder: Path) -> Path:
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def windowed(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose second layer sees the last five tokens alone."""
    layers = ["full_attention", "sliding_attention"]
    config = Qwen3Config.from_pretrained(tiny_model, use_sliding_window=True, sliding_window=5, layer_types=layers)
    torch.manual_seed(0)
    return model_folder(Qwen3ForCausalLM(config), tiny_model, tmp_path_factory.mktemp("windowed"))


@pytest.mark.parametrize(
    ("tuner", "processes"),
    [
        ("full", TWO),
        pytest.param("lora", TWO, marks=pytest.mark.slow),
        pytest.param("lora", FOUR, marks=pytest.mark.slow),
    ],
    ids=["full-2", "lora-2", "lora-4"],
)
def test_processes_that_divide_rows_learn_as_one_and_go_on_to_the_same_weights(
    windowed: Path, tmp_path: Path, tuner: str, processes: dict[str, Any]
) -> None:
    flags = {**FLAGS, "tuner_type": tuner}
    one = run(tmp_path / "one", windowed, **flags, group_by_length="group_by_length" in processes)
    lines = run(tmp_path / "two", windowed, **flags, **processes)
    assert len(figures(lines, "loss")) == 12
    for name in ("loss", "token_acc", "eval_loss", "eval_a_loss", "eval_token_acc"):
        assert figures(lines, name) == pytest.approx(figures(one, name), abs=1e-5), name
    assert figures(lines, "grad_norm") == pytest.approx(figures(one, "grad_norm"), abs=1e-4)

    file = next((tmp_path / "two/models/adapter").glob("*model.safetensors"))
    weights = load_file(file)
    shutil.rmtree(tmp_path / "two/checkpoints/checkpoint-12")
    shutil.rmtree(tmp_path / "two/models")
    lines = run(tmp_path / "two", windowed, **flags, **processes)
    assert any("going on from checkpoint-6" in str(line.get("message")) for line in lines)
    again = load_file(file)
    assert all(torch.equal(weights[name], again[name]) for name in weights)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model_type", "message"),
    [  # convolutions beside attention, and no attention
        ("lfm2", r"lfm2 with --tuner_type full does not give the same logits where 2 processes divide a row"),
        ("mamba", r"mamba computes with .* attention here, and rows are divided for sdpa and flash_attention_2"),
    ],
)
def test_a_model_that_mixes_tokens_otherwise_is_refused(
    tiny_model: Path, tmp_path: Path, model_type: str, message: str
) -> None:
    model = tiny(model_type)
    model.config.vocab_size = 320
    if model_type == "lfm2":
        model.config.layer_types = ["conv", *model.config.layer_types[1:]]
    base = model_folder(type(model)(model.config), tiny_model, tmp_path / "base")
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, base, **FLAGS, **TWO, tuner_type="full")
