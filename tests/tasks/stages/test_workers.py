"""Two processes on this machine, through gloo: the losses of one, and one reason when they fail."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from components import models
from components.config import read_flags, resolve
from components.errors import ConfigError
from components.files import write_json
from tasks.stages import methods, train
from tasks.stages.paths import Paths
from tests.components.training.runs import (
    judged_rows,
    labelled_rows,
    other_weights,
    paired_rows,
    preference_rows,
    prompt_rows,
    some_rows,
    write_tokens,
)

STEPS = 30
FLAGS = {
    "max_steps": STEPS, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 4, "save_steps": 10,
    "learning_rate": 1e-3, "lora_rank": 4, "lora_dropout": 0.0, "logging_steps": 1,
}  # fmt: skip
FAILS = """\
import os
from transformers import TrainerCallback
from components.errors import ConfigError

def callback(job):
    return Fails()

class Fails(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 3 and os.environ.get("RANK") == "1":
            raise ConfigError("the second process has had enough")
"""


def run(root: Path, base: Path, **flags: object) -> list[dict[str, float]]:
    """Train on 50 rows, which do not divide among the batches of two processes; return the lines of progress."""
    of_two = [{**row, "source": f"{'ab'[n % 3 == 0]}.jsonl"} for n, row in enumerate(some_rows(11, seed=1))]
    write_tokens(root / "data/tokens", some_rows(50), of_two)
    return train_on(root, base, **flags)


def train_on(root: Path, base: Path, **flags: object) -> list[dict[str, float]]:
    """Train on the tokens in `root`; return the lines of progress."""
    paths = Paths(root=root, workspace=root, checkpoints=root / "checkpoints")
    params = resolve(read_flags({**FLAGS, **flags}))
    write_json(paths.model, models.resolve(str(base), None, False, root))
    write_json(paths.methods, methods.used(params, root))
    train.run(params, paths)
    return [json.loads(line) for line in (paths.log("train") / "progress.jsonl").read_text().splitlines()]


def figures(lines: list[dict[str, float]], name: str) -> list[float]:
    return [line[name] for line in lines if name in line]


def test_two_processes_have_the_losses_of_one(tiny_model: Path, tmp_path: Path) -> None:
    one = run(tmp_path / "one", tiny_model)
    two = run(tmp_path / "two", tiny_model, nproc_per_node=2)
    assert len(figures(one, "loss")) == STEPS
    assert sum(str(line.get("message", "")).startswith("model: float32 on 2 × cpu, ") for line in two) == 1
    assert figures(two, "loss") == pytest.approx(figures(one, "loss"), abs=1e-5)
    for name in ("eval_loss", "eval_a_loss", "eval_b_loss"):
        assert figures(two, name) == pytest.approx(figures(one, name), abs=1e-5)
    assert figures(two, "grad_norm") == pytest.approx(figures(one, "grad_norm"), abs=1e-4)
    adapters = [load_file(tmp_path / name / "models/adapter/adapter_model.safetensors") for name in ("one", "two")]
    assert all(torch.allclose(adapters[0][name], adapters[1][name], atol=1e-4) for name in adapters[0])


@pytest.mark.parametrize(
    "flags", [{}, pytest.param({"group_by_length": True}, marks=pytest.mark.slow)], ids=["shuffled", "grouped"]
)
def test_two_processes_go_on_within_a_later_pass_to_the_same_weights(
    tiny_model: Path, tmp_path: Path, flags: dict[str, object]
) -> None:
    flags |= {"nproc_per_node": 2, "max_steps": 13, "save_steps": 9}  # a pass has 7 steps
    run(tmp_path, tiny_model, **flags)
    weights = tmp_path / "models/adapter/adapter_model.safetensors"
    whole = weights.read_bytes()
    shutil.rmtree(tmp_path / "checkpoints/checkpoint-13")
    shutil.rmtree(tmp_path / "models")
    lines = run(tmp_path, tiny_model, **flags)
    assert any("going on from checkpoint-9" in str(line.get("message")) for line in lines)
    assert weights.read_bytes() == whole


def test_the_process_that_failed_first_gives_the_reason(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "fails.py").write_text(FAILS)
    with pytest.raises(ConfigError, match="the second process has had enough"):
        run(tmp_path, tiny_model, nproc_per_node=2, callbacks=["fails"], external_plugins=["fails.py"])


def test_passes_that_do_not_divide_are_refused_before_a_process_is_started(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"5 passes do not divide among 2 processes .* nearest number that does is 4"):
        run(tmp_path, tiny_model, nproc_per_node=2, gradient_accumulation_steps=5)
    assert not list(tmp_path.rglob("job.json"))


REWARD = """\
def rewards(samples, params):
    return [len(set(sample.completion)) / 6 for sample in samples]
"""
FIGURES = (
    "loss", "reward", "entropy", "values", "returns", "value_loss", "a_loss", "b_loss", "divergence", "agreement",
    "on_policy", "completions", "rewards", "logps", "nll", "kl", "acc", "f1", "recall",
)  # fmt: skip
SIZES = {"per_device_train_batch_size": 2, "per_device_eval_batch_size": 2, "gradient_accumulation_steps": 2}
METHODS: dict[str, Any] = {
    "dpo": (preference_rows, "preference", {"rlhf_type": "dpo"}),
    "kto": (judged_rows, "label", {"rlhf_type": "kto"}),
    "rm": (preference_rows, "preference", {"rlhf_type": "rm"}),
    "seq_cls": (labelled_rows, "classification", {"task_type": "seq_cls"}),
    "gkd": (some_rows, "sft", {"rlhf_type": "gkd", "max_completion_length": 6}),
    **{
        name: (
            prompt_rows,
            "prompt",
            {
                "rlhf_type": name,
                "reward_funcs": ["mine"],
                "external_plugins": ["mine.py"],
                "num_generations": 2,
                "max_completion_length": 6,
                **more,
            },
        )
        for name, more in {
            "grpo": {"num_iterations": 2, "dynamic_sample": True},
            "rloo": {},
            "ppo": {"num_ppo_epochs": 2},
        }.items()
    },
    "embedding": (paired_rows, "pair", {"task_type": "embedding", "infonce_use_batch": False}),
}
"""Name to rows, their shape, and flags."""


def learn(root: Path, base: Path, method: str, **flags: object) -> list[dict[str, float]]:
    """Train on 23 rows, which do not divide, and evaluate on 7 of two datasets; return the lines of progress."""
    make, shape, own = METHODS[method]
    held_out = [{**row, "source": f"{'ab'[n % 3 == 0]}.jsonl"} for n, row in enumerate(make(7, seed=1))]
    write_tokens(root / "data/tokens", make(23), held_out, shape)
    if shape == "prompt":
        (root / "mine.py").write_text(REWARD)
    if method == "gkd":
        other_weights(base).save_pretrained(root / "teacher")
        models.copy_companions(base, root / "teacher")
        flags = {"teacher_model": "teacher", **flags}
    steps = {"max_steps": 8, "save_steps": 4, "eval_steps": 4, "learning_rate": 3e-3}
    return train_on(root, base, **{**steps, **own, **flags})


@pytest.mark.parametrize(
    "method", [name if name == "dpo" else pytest.param(name, marks=pytest.mark.slow) for name in METHODS]
)
def test_two_processes_learn_by_a_method_as_one_and_go_on(tiny_model: Path, tmp_path: Path, method: str) -> None:
    """Half as many rows in each forward pass, because KTO's distance is that of one by all processes; passes of a step
    are counted over all."""
    half = {"per_device_train_batch_size": 1, "per_device_eval_batch_size": 1, "gradient_accumulation_steps": 4}
    half |= {"nproc_per_node": 2}
    one = learn(tmp_path / "one", tiny_model, method, **SIZES)
    two = learn(tmp_path / "two", tiny_model, method, **half)
    names = {name for line in one for name in line if name.removeprefix("eval_").startswith(FIGURES)}
    assert len(names) > 4
    for name in names:
        near = pytest.approx(figures(one, name), rel=1e-5, abs=2e-5)  # rewards are differences of greater numbers
        assert figures(two, name) == near, name
    weights = tmp_path / "two/models/adapter/adapter_model.safetensors"
    whole = weights.read_bytes()
    shutil.rmtree(tmp_path / "two/checkpoints/checkpoint-8")
    shutil.rmtree(tmp_path / "two/models")
    lines = learn(tmp_path / "two", tiny_model, method, **half)
    assert any("going on from checkpoint-4" in str(line.get("message")) for line in lines)
    assert weights.read_bytes() == whole
