"""Several processes that train together: who writes, and how they wait for and add up each other's figures.

A process that trains alone is rank 0 of 1; nothing here imports torch.distributed then.
"""

import os
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from torch.distributed import Store

    from components.config.groups.distributed import Distributed

Value = TypeVar("Value")


def rank() -> int:
    """Return this process's number among those that train together, from 0, as the one that starts it says."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Return how many processes train together."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_writer() -> bool:
    """Return whether this process writes the files that all share."""
    return rank() == 0


def join(store: "Store", distributed: "Distributed") -> None:
    """Become one of the processes that train together, which meet at `store`, and take this one's accelerator.

    `ddp_backend` says how they exchange tensors, by default as PyTorch does for each kind of device. A process that
    waits for another one raises after `ddp_timeout` seconds.
    """
    import torch.distributed as dist

    take_device()
    timeout = timedelta(seconds=distributed.ddp_timeout)
    backend = distributed.ddp_backend
    dist.init_process_group(backend, timeout=timeout, rank=rank(), world_size=world_size(), store=store)


def leave() -> None:
    """End the exchange with the other processes."""
    import torch.distributed as dist

    dist.destroy_process_group()


def barrier() -> None:
    """Wait until every process is here."""
    if world_size() > 1:
        import torch.distributed as dist

        dist.barrier()


def total(values: Sequence[float]) -> list[float]:
    """Return the sum of each value over all processes, in double precision."""
    if world_size() == 1:
        return list(values)
    import torch
    import torch.distributed as dist

    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    sums = torch.tensor(values, dtype=torch.float64, device=device)
    dist.all_reduce(sums)
    return sums.tolist()


def gathered(values: list[Any]) -> list[Any]:
    """Return the values of all processes, in the order of their ranks."""
    if world_size() == 1:
        return values
    import torch.distributed as dist

    lists: list[Any] = [None] * world_size()
    dist.all_gather_object(lists, values)
    return [value for of_one in lists for value in of_one]


def of_first(values: Iterator[Value]) -> Iterator[Value]:
    """Yield, in every process, the values of rank 0's iterator; those of the others are not asked. All processes
    iterate together."""
    if world_size() == 1:
        yield from values
        return
    import torch.distributed as dist

    while True:
        box: list[Any] = [next(values) if is_writer() else None]
        dist.broadcast_object_list(box)
        yield box[0]


def take_device() -> None:
    """Make the accelerator of this process's local rank the current one, before a model is loaded."""
    import torch

    if world_size() > 1 and torch.accelerator.is_available():
        torch.accelerator.set_device_index(int(os.environ["LOCAL_RANK"]))
