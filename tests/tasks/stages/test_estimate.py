"""What a training needs on each device, and what would make it fit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.distributed_memory import SHAPES
from components.config import Params
from components.errors import ConfigError
from components.files import write_json
from components.training import settled
from tasks.stages import estimate
from tasks.stages.changes import changes_of
from tasks.stages.devices import Devices
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


def test_processes_that_divide_a_row_have_their_part_of_its_activations(paths: Paths) -> None:
    all_learned = ROWS._replace(learned=ROWS.lengths)
    whole, divided = (estimate.estimate(params(sequence_parallel_size=n), paths, all_learned) for n in (1, 8))
    assert whole
    assert divided
    assert divided.memory.activations == pytest.approx(whole.memory.activations / 8, rel=1e-3)
    assert divided.memory.weights == whole.memory.weights


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


def test_more_devices_divide_the_weights_and_the_machine_holds_them() -> None:
    eight = Devices(1, 8, accelerated=True, limit=10**10, in_use=0, machine=10**11)

    def flags(devices: Devices, **values: Any) -> list[str]:
        return [change.flags for change in changes_of(params(**values), 256, devices, [])]

    assert flags(eight, nproc_per_node=1)[:2] == [
        "--nproc_per_node 8 --deepspeed zero3",
        "--nproc_per_node 8 --deepspeed zero3_offload",
    ]
    all_used = eight._replace(processes=8)
    assert flags(all_used, nproc_per_node=8)[:2] == ["--deepspeed zero3", "--deepspeed zero3_offload"]
    assert flags(all_used, nproc_per_node=8, deepspeed="zero3")[0] == "--deepspeed zero3_offload"
    assert not any("deepspeed" in flag for flag in flags(all_used, nproc_per_node=8, deepspeed="zero3_offload"))
    # A step of 64 passes divides among two groups of three processes.
    assert flags(eight._replace(processes=3), nproc_per_node=3, sequence_parallel_size=3)[0] == (
        "--nproc_per_node 6 --deepspeed zero3"
    )
    assert not any("deepspeed" in flag for flag in flags(eight, nproc_per_node=1, device_map="auto"))
    assert not any("deepspeed" in flag for flag in flags(all_used, nproc_per_node=8, tuner="llamapro"))
    assert not any("deepspeed" in flag for flag in flags(all_used._replace(accelerated=False), nproc_per_node=8))


def test_a_training_that_cannot_fit_on_a_device_is_refused(paths: Paths) -> None:
    small = Devices(64, 64, accelerated=True, limit=6 * 10**9, in_use=0, machine=10**8)
    refused = pytest.raises(ConfigError, match=r"of memory of each device, and there are 6 GB; less is needed with")
    with refused as error:
        estimate.require(params(), paths, ROWS, small)
    assert "--deepspeed zero3_offload (about " in str(error.value)
    with pytest.raises(ConfigError, match=r"puts about .* into the machine's memory, and there are 100 MB"):
        estimate.require(params(deepspeed="zero3_offload"), paths, ROWS, small)
