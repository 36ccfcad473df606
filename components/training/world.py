"""The processes that a run asks for: how many on how many machines, and where they meet."""

import os
import sys
from typing import Any

from components.config import Params
from components.config.groups.distributed import Distributed
from components.errors import ConfigError

NAMES = ("nproc_per_node", "nnodes", "node_rank", "master_addr", "master_port")
"""Parameters that variables of the environment stand for, in capitals, as with ms-swift; a flag wins."""
PORT = 29500
DRIVERS = ("/dev/nvidiactl", "/dev/kfd", "/dev/dri", "/dev/davinci_manager")
"""Files of the drivers of accelerators: NVIDIA, AMD, Intel, Ascend."""


def settled_world(distributed: Distributed) -> Distributed:
    """Return the parameters with processes, machines and their meeting place filled in: from the environment, or one
    process for each accelerator of one machine.

    Raises:
        ConfigError: a variable of the environment is not a number.
    """
    values: dict[str, Any] = {"nnodes": 1, "node_rank": 0, "master_port": PORT, **_environment()}
    values |= {name: value for name in NAMES if (value := getattr(distributed, name)) is not None}
    if "nproc_per_node" not in values:
        values["nproc_per_node"] = 1 if distributed.device_map else _accelerators()
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


def _accelerators() -> int:
    if not any(map(os.path.exists, DRIVERS)) and sys.platform == "linux":
        return 1  # without the import of torch, which takes seconds
    import torch

    return torch.accelerator.device_count() if torch.accelerator.is_available() else 1


def world_size(params: Params) -> int:
    """Return how many processes train together, on all machines."""
    return (params.distributed.nproc_per_node or 1) * (params.distributed.nnodes or 1)


def is_launched(params: Params) -> bool:
    """Return whether the training runs in processes that torchrun starts."""
    return world_size(params) > 1 or bool(params.distributed.deepspeed or params.distributed.fsdp)
