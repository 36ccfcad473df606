"""What a training needs on each device, and what would make it fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.distributed_memory import SHAPES
from components.config import Params
from components.files import write_json
from components.training import settled
from tasks.stages import estimate
from tasks.stages.paths import Paths

LENGTHS = np.full(64, 256)
ROWS = estimate.Rows(LENGTHS, LENGTHS // 2, steps=4)


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    """A run on a model of a billion weights, of which only the shape is there."""
    paths = Paths(tmp_path, tmp_path, checkpoints=tmp_path)
    shape = {**SHAPES["0.6B"], "num_hidden_layers": 4, "hidden_size": 4096, "intermediate_size": 12288}
    (tmp_path / "base").mkdir()
    write_json(tmp_path / "base/config.json", shape)
    write_json(paths.model, {"model": "base", "source": "local"})
    return paths


def params(tuner: str = "full", rows: int = 1, **distributed: Any) -> Params:
    train = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": 64, "torch_dtype": "bfloat16"}
    groups = {"train": train, "tuner": {"tuner_type": tuner}, "distributed": {"nproc_per_node": 64, **distributed}}
    return settled(Params.model_validate(groups), 1e-4)


def need(paths: Paths, tuner: str = "full", **distributed: Any) -> estimate.Estimate:
    need = estimate.estimate(params(tuner, **distributed), paths, ROWS)
    assert need
    return need


def test_devices_that_are_not_here_are_planned_for_and_nothing_is_compared(paths: Paths) -> None:
    whole, divided = need(paths, nproc_per_node=1), need(paths, fsdp="full_shard")
    assert divided.memory.weights == whole.memory.weights // 64
    assert divided.memory.optimizer == whole.memory.optimizer // 64
    first, last = divided.lines()
    assert " on each of 64 devices (weights " in first
    assert first.endswith("; this machine has none, so nothing is compared")
    assert "free" not in last
    assert estimate.require(params(fsdp="full_shard"), paths, ROWS) == [first, last]


def test_machines_and_what_is_offloaded_to_them(paths: Paths) -> None:
    offloaded = need(paths, deepspeed="zero3_offload", nproc_per_node=32, nnodes=2)
    device, machine, _ = offloaded.lines()
    assert " on each of 64 devices of 2 machines (weights 0 B, " in device
    # In bfloat16 a weight and its gradient; in float32 a copy and two moments.
    weights = need(paths, nproc_per_node=1).memory.weights / 2
    assert offloaded.offloaded == pytest.approx(weights * 16 / 2, rel=1e-3)
    assert machine.endswith(" in each machine itself, for what is offloaded")
    zero = {"stage": 3, "offload_optimizer": {"device": "nvme"}}
    assert need(paths, deepspeed={"zero_optimization": zero}).lines()[1].startswith("disk: about ")


def test_processes_of_a_cpu_share_its_memory_with_what_is_offloaded(paths: Paths) -> None:
    alone, offloaded = need(paths, nproc_per_node=1), need(paths, nproc_per_node=1, fsdp="full_shard offload")
    assert offloaded.offloaded == 0
    assert offloaded.peak > alone.memory.weights + alone.memory.optimizer
    assert "on each" not in alone.lines()[0]
