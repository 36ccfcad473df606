"""What of the parameters of several processes or devices excludes each other, or other parameters."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from components import models, training
from components.config import Params
from components.config.groups.distributed import Distributed
from components.errors import ConfigError, did_you_mean
from components.training.sharding import Plan, plan_of
from components.training.world import processes_of, settled_world
from tasks import sequence_parallel
from tasks.stages.dividing import undividable

DEVICE_MAPS = ("auto", "balanced", "balanced_low_0", "sequential")
SECTIONS = {
    "optimizer": ("optimizer", {"Adam": "adamw", "AdamW": "adamw"}),
    "scheduler": (
        "lr_scheduler_type",
        {"WarmupLR": "constant_with_warmup", "WarmupDecayLR": "linear", "WarmupCosineLR": "cosine"},
    ),
}
"""Sections of DeepSpeed's file, the parameter that says the same, and DeepSpeed's names for our values."""
PRECISIONS = {"bf16": "bfloat16", "fp16": "float16"}


def conflicts(params: Params, files: list[Path], root: Path) -> list[str]:
    """Return a sentence for each pair of settings that exclude each other.

    Args:
        files: the user's plugin files.
        root: where the JSON files of engines are looked up.
    """
    try:
        world = settled_world(params.distributed)
    except ConfigError:  # a variable of the environment, of which the caller tells
        return []
    sentences = _device_map(world)
    try:
        plan = plan_of(world, root)
    except ConfigError as error:
        return [str(error), *sentences]
    if plan.engine == "fsdp" and processes_of(world) == 1:
        sentences.append("fsdp: one process has nobody to divide the model with; add --nproc_per_node, or leave it out")
    sentences += undividable(params, plan, files)
    sentences += sequence_parallel.conflicts(params)
    if plan.engine == "deepspeed":
        sentences += _settings(params, world, plan)
        if find_spec("deepspeed") is None:
            sentences.append("deepspeed: the package is missing: pip install 'martlet[deepspeed]'")
    if plan.settings.get("activation_checkpointing") is True and params.train.gradient_checkpointing is False:
        sentences.append(
            "fsdp: activation_checkpointing is true in its settings, and --gradient_checkpointing is false; leave one "
            "of them out"
        )
    return sentences


def _device_map(world: Distributed) -> list[str]:
    if not world.device_map:
        if world.max_memory:
            return ["max_memory: it limits what --device_map lays on each device; add --device_map auto"]
        return []
    sentences: list[str] = []
    processes = processes_of(world)
    if processes > 1:
        sentences.append(
            f"device_map: it lays one model on several devices, and each of the {processes} processes has a device of "
            "its own; use --nproc_per_node 1, or --deepspeed zero3 in its place"
        )
    sentences += [
        f"device_map: --{name} divides the model among processes; leave one of them out"
        for name in ("deepspeed", "fsdp")
        if getattr(world, name)
    ]
    return sentences + _unknown_map(world.device_map)


def _unknown_map(text: str) -> list[str]:
    if text.startswith("{"):
        try:
            json.loads(text)
        except ValueError as error:
            return [f"device_map: '{text}' is not JSON: {error}"]
        return []
    if text in DEVICE_MAPS:
        return []
    names = ", ".join(DEVICE_MAPS)
    return [
        f"device_map: there is no '{text}'{did_you_mean(text, DEVICE_MAPS)}; choose one of {names}, or give JSON of "
        "layers and devices"
    ]


def _settings(params: Params, world: Distributed, plan: Plan) -> list[str]:
    """Return a sentence for each setting of DeepSpeed's file that says otherwise than a parameter."""
    sentences: list[str] = []
    for name, (value, reason) in _decided(params, world).items():
        own = plan.settings.get(name, "auto")
        if own not in ("auto", value):
            sentences.append(
                f'deepspeed: {name} is {json.dumps(own)} in its settings, and {reason}; write "auto" there'
            )
    return sentences + _precisions(params, plan.settings) + _sections(params, plan.settings)


def _decided(params: Params, world: Distributed) -> dict[str, tuple[float, str]]:
    """Return the settings that parameters decide, each with its value and which parameter that is from."""
    train, groups = params.train, processes_of(world) // world.sequence_parallel_size
    rows, norm = train.per_device_train_batch_size, train.max_grad_norm
    decided: dict[str, tuple[float, str]] = {
        "train_micro_batch_size_per_gpu": (rows, f"--per_device_train_batch_size is {rows}"),
        "gradient_clipping": (norm, f"--max_grad_norm is {norm:g}"),
    }
    try:
        passes = training.settled(params, default_learning_rate=1e-4).train.gradient_accumulation_steps or 1
    except ConfigError:  # they do not divide among the processes, of which the caller tells
        return decided
    own, product = passes // groups, "--per_device_train_batch_size times --gradient_accumulation_steps"
    return {
        **decided,
        "gradient_accumulation_steps": (own, f"--gradient_accumulation_steps makes {own} for each process"),
        "train_batch_size": (rows * passes, f"{product} is {rows * passes}"),
    }


def _precisions(params: Params, settings: dict[str, Any]) -> list[str]:
    dtype = params.train.torch_dtype or models.native_dtype()
    sentences: list[str] = []
    for name, precision in PRECISIONS.items():
        section = settings.get(name)
        own = section.get("enabled", "auto") if isinstance(section, dict) else "auto"
        if own not in ("auto", dtype == precision) and dtype != "auto":
            sentences.append(
                f"deepspeed: {name}.enabled is {json.dumps(own)} in its settings, and the weights are in {dtype} "
                f'(--torch_dtype); write "auto" there'
            )
    return sentences


def _sections(params: Params, settings: dict[str, Any]) -> list[str]:
    sentences: list[str] = []
    for name, (parameter, names) in SECTIONS.items():
        section = settings.get(name)
        if not isinstance(section, dict):
            continue
        is_same = names.get(str(section.get("type"))) == getattr(params.train, parameter)
        values = section.get("params", {})
        if not is_same or any(value != "auto" for value in values.values()):
            sentences.append(
                f"deepspeed: the section {name} of its settings has values of its own; leave it out: --{parameter} "
                "and its parameters say them"
            )
    return sentences
