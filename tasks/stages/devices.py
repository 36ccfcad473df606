"""The devices of each machine that a training is for, and the memory that there is."""

from typing import NamedTuple

from components import hardware
from components.config import Params


class Devices(NamedTuple):
    """The devices of one machine; with several machines the others are as this one.

    Attributes:
        processes: of each machine, on a device each.
        here: devices that this machine has: accelerators, or without any the cores of its CPU.
        accelerated: they are accelerators; so are those that a machine without accelerators lacks.
        limit: bytes of memory of each; of a CPU its share for each process.
        in_use: bytes of it that each process holds before anything is loaded: libraries.
        machine: bytes of the machine's own memory.
    """

    processes: int
    here: int
    accelerated: bool
    limit: int
    in_use: int
    machine: int

    @property
    def are_here(self) -> bool:
        """Whether this machine has as many."""
        return self.processes <= self.here

    @property
    def available(self) -> int:
        """Bytes on each device for what a training loads."""
        return self.limit - self.in_use


def devices_of(params: Params, is_plan: bool = True) -> Devices:
    """Return the devices that the settled `params` ask of each machine; with a device map all together are one.

    Args:
        is_plan: nothing is trained, so more processes than there are cores stand for accelerators that are not here.
    """
    import psutil
    import torch

    count, machine = params.distributed.nproc_per_node or 1, hardware.machine_memory()
    if torch.accelerator.is_available():  # a CUDA context is not seen
        accelerators = torch.accelerator.device_count()
        together = accelerators if params.distributed.device_map else 1
        return Devices(count, accelerators, True, together * hardware.memory_limit(), 0, machine)
    cores = hardware.cores() if is_plan else max(count, hardware.cores())
    return Devices(count, cores, count > cores, machine // count, psutil.Process().memory_info().rss, machine)
