"""What makes a training smaller: flags, cheapest first."""

from pathlib import Path
from typing import Any, NamedTuple

from components.config import Params
from components.training.sharding import DEEPSPEED, plan_of
from tasks.stages.devices import Devices
from tasks.stages.dividing import undividable

SHORT_ROW = 128
"""Tokens below which no shorter rows are advised."""


class Change(NamedTuple):
    """Flags that make a training smaller, and what they set, by group."""

    flags: str
    values: dict[str, dict[str, Any]]


def changes_of(params: Params, longest: int, devices: Devices, files: list[Path]) -> list[Change]:
    """Return what makes a training smaller, that which costs least first: nothing, time, precision, rows.

    Args:
        longest: tokens of the longest row.
        files: the user's plugin files.
    """
    train, accelerated = params.train, devices.accelerated
    changes: list[Change] = []
    least = 2 if params.method.name == "embedding" else 1  # the rows of a batch are compared with each other
    if (rows := train.per_device_train_batch_size) > least:
        passes = (train.gradient_accumulation_steps or 1) * rows // least
        flags = f"--per_device_train_batch_size {least} --gradient_accumulation_steps {passes}"
        values = {"per_device_train_batch_size": least, "gradient_accumulation_steps": passes}
        changes.append(Change(flags, {"train": values}))
    if not (accelerated if train.gradient_checkpointing is None else train.gradient_checkpointing):
        changes.append(Change("--gradient_checkpointing true", {"train": {"gradient_checkpointing": True}}))
    if accelerated:
        changes += _divisions(params, devices, files)
    if train.torch_dtype == "float32" or (train.torch_dtype is None and not accelerated):
        changes.append(Change("--torch_dtype bfloat16", {"train": {"torch_dtype": "bfloat16"}}))
    is_adapter = params.tuner.tuner_type not in ("full", "llamapro")
    if not is_adapter:
        values = {"tuner": {"tuner_type": "lora"}, "train": {"optimizer": "adamw", "callbacks": []}}
        changes.append(Change("--tuner_type lora", values))
    elif not params.quantization.quant_method:
        changes.append(Change("--quant_method bnb", {"quantization": {"quant_method": "bnb"}}))
    return changes + _shorter_rows(params, longest)


def _divisions(params: Params, devices: Devices, files: list[Path]) -> list[Change]:
    """Return how more accelerators would divide the weights, and how the machine's memory would hold them."""
    distributed, passes = params.distributed, params.train.gradient_accumulation_steps or 1
    if distributed.device_map or undividable(params, DEEPSPEED["zero3"], files):
        return []
    counts = range(devices.processes, max(devices.here, devices.processes) + 1)
    machines, parts = distributed.nnodes or 1, distributed.sequence_parallel_size
    count = max(n for n in counts if n * machines % parts == 0 and parts * passes % (n * machines) == 0)
    processes = f"--nproc_per_node {count} " if count != devices.processes else ""
    changes: list[Change] = []
    for name in ("zero3", "zero3_offload"):
        values = {"nproc_per_node": count, "deepspeed": name, "fsdp": None}
        is_more = DEEPSPEED[name].offload_weights or count > 1
        if is_more and not plan_of(distributed).offload_weights and distributed.deepspeed != name:
            changes.append(Change(f"{processes}--deepspeed {name}", {"distributed": values}))
    return changes


def _shorter_rows(params: Params, longest: int) -> list[Change]:
    changes: list[Change] = []
    length = max(SHORT_ROW, 2 ** ((longest - 1).bit_length() - 1))
    while length >= SHORT_ROW and length < longest:
        packed = length if params.train.packing else None
        values = {"template": {"max_length": length}, "train": {"packing_length": packed}}
        changes.append(Change(f"--max_length {length}", values))
        length //= 2
    return changes


def changed(params: Params, change: Change) -> Params:
    """Return `params` with a change."""
    groups = {name: getattr(params, name).model_copy(update=values) for name, values in change.values.items()}
    return params.model_copy(update=groups)
