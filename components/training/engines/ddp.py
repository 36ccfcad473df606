"""Whole copies of the model in each process (PyTorch's DistributedDataParallel), or one process alone."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.config import Params
from components.errors import ConfigError
from components.training import ranks
from components.training.job import Job


@contextmanager
def loading(params: Params) -> Generator[dict[str, Any]]:
    """Yield where the weights lie: as `device_map` says, else on this process's device.

    Raises:
        ConfigError: `device_map` is a JSON that does not name layers.
    """
    distributed = params.distributed
    if not distributed.device_map:
        yield {}
        return
    memory = {int(name) if name.isdecimal() else name: size for name, size in (distributed.max_memory or {}).items()}
    yield {"device_map": _device_map(distributed.device_map), "max_memory": memory or None}


def _device_map(text: str) -> Any:
    import json

    if not text.startswith("{"):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ConfigError(f"device_map: {text} is not JSON: {error}") from error


def arguments(job: Job) -> dict[str, Any]:
    """Return what transformers needs to train on a CPU, or with unused weights."""
    import torch

    unused = job.params.distributed.ddp_find_unused_parameters
    return {
        "use_cpu": not torch.accelerator.is_available(),
        # A callback may freeze layers.
        "ddp_find_unused_parameters": bool(job.train.callbacks) if unused is None else unused,
    }


def is_running(trainer: Any) -> bool:
    """Return whether the model is wrapped where there are several processes."""
    from torch.nn.parallel import DistributedDataParallel

    return ranks.world_size() == 1 or isinstance(trainer.model_wrapped, DistributedDataParallel)


def save_optimizer(trainer: Any, folder: Path) -> bool:  # noqa: ARG001
    """Leave optimizer.pt to transformers."""
    return False


def load_optimizer(trainer: Any, folder: Path) -> bool:  # noqa: ARG001
    """Leave optimizer.pt to transformers."""
    return False


def end(trainer: Any) -> None:
    """Do nothing: the engine holds nothing of the process."""
