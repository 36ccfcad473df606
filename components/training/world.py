"""The processes that a run asks for: how many on how many machines, and where they meet."""

import os
import socket
import sys
from typing import Any

from components.config import Params
from components.config.groups.distributed import Distributed
from components.errors import ConfigError

NAMES = ("nproc_per_node", "nnodes", "node_rank", "master_addr", "master_port")
"""Parameters that variables of the environment stand for, in capitals, as with ms-swift; a flag wins."""
MEETING = ("node_rank", "master_addr", "master_port", "max_restarts", "ddp_timeout", "ddp_backend")
"""Parameters of how processes meet, which decide no weight: a run goes on under others."""
PORT = 29500
DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dri", "/dev/davinci_manager")
"""Files of the drivers of accelerators: NVIDIA, AMD, Intel, Ascend."""


def settled_world(distributed: Distributed) -> Distributed:
    """Return the parameters with processes, machines and their meeting place filled in: from the environment, or one
    process for each accelerator of one machine.

    Raises:
        ConfigError: a variable of the environment is not a number.
    """
    values: dict[str, Any] = {"nnodes": 1, "master_port": PORT, **_environment()}
    values |= {name: value for name in NAMES if (value := getattr(distributed, name)) is not None}
    if values["nnodes"] == 1:
        values.setdefault("node_rank", 0)
    if "nproc_per_node" not in values:
        values["nproc_per_node"] = 1 if distributed.device_map else accelerators() or 1
    return distributed.model_copy(update=values)


def _environment() -> dict[str, Any]:
    values: dict[str, Any] = {name: os.environ[name.upper()] for name in NAMES if os.environ.get(name.upper())}
    for name, value in values.items():
        if name == "master_addr":
            continue
        if not value.isdecimal():
            raise ConfigError(f"{name.upper()}: {value!r} in the environment is not a number")
        values[name] = int(value)
    return values


def accelerators() -> int:
    """Return how many accelerators this machine has. PyTorch is imported, which takes seconds, only beside a driver."""
    if not any(map(os.path.exists, DRIVERS)) and sys.platform == "linux":
        return 0
    import torch

    return torch.accelerator.device_count() if torch.accelerator.is_available() else 0


def processes_of(world: Distributed) -> int:
    """Return how many processes train together, on all machines."""
    return (world.nproc_per_node or 1) * (world.nnodes or 1)


def world_size(params: Params) -> int:
    """Return how many processes train together, on all machines."""
    return processes_of(params.distributed)


def data_parallel_size(params: Params) -> int:
    """Return how many processes, or groups of processes that divide rows, train on other rows than each other."""
    return world_size(params) // params.distributed.sequence_parallel_size


def is_launched(params: Params) -> bool:
    """Return whether the training runs in processes that the stage starts."""
    return world_size(params) > 1 or bool(params.distributed.deepspeed or params.distributed.fsdp)


def problems(world: Distributed) -> list[str]:
    """Return a sentence for each reason why the processes of a settled `world` cannot start here, or cannot meet."""
    sentences: list[str] = []
    devices, processes = accelerators(), world.nproc_per_node or 1
    if devices and processes > devices:
        sentences.append(
            f"nproc_per_node: {processes} processes need {processes} accelerators, and {devices} "
            f"{'is' if devices == 1 else 'are'} visible; use --nproc_per_node {devices}, or make more visible"
        )
    if world.ddp_backend not in (None, "gloo") and not devices:
        sentences.append(f"ddp_backend: {world.ddp_backend} connects accelerators, and there is none here; use gloo")
    return sentences + _problems_of_machines(world) if (world.nnodes or 1) > 1 else sentences


def _problems_of_machines(world: Distributed) -> list[str]:
    count, rank = world.nnodes or 1, world.node_rank
    sentences: list[str] = []
    if rank is None:
        sentences.append(f"node_rank: which of the {count} machines is this? Add --node_rank, from 0 to {count - 1}")
    elif rank >= count:
        sentences.append(f"node_rank: {count} machines have the numbers 0 to {count - 1}, and not {rank}")
    if not world.master_addr:
        sentences.append(f"master_addr: {count} machines meet at machine 0; add --master_addr with its name or address")
    else:
        sentences += _problems_of_meeting_place(world.master_addr, world.master_port or PORT, is_here=rank == 0)
    return sentences


def _problems_of_meeting_place(host: str, port: int, *, is_here: bool) -> list[str]:
    try:
        socket.getaddrinfo(host, port)
    except OSError as error:
        return [f"master_addr: {host!r} has no address that this machine knows ({error.strerror}); is the name right?"]
    try:
        if is_here:
            socket.create_server(("", port)).close()
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        return [f"master_port: port {port} cannot be used ({reason}); give another --master_port on every machine"]
    return []
