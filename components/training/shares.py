"""What of a whole training lies on each device, as an engine divides it among processes.

ZeRO (Rajbhandari et al. 2019, arXiv 1910.02054) divides the optimizer's state, then gradients, then weights; FSDP2
(Zhao et al. 2023, arXiv 2304.11277) divides all three.
"""

from typing import NamedTuple

from components.training.sharding import Device, Plan


class Sizes(NamedTuple):
    """Bytes of a whole training.

    Attributes:
        frozen: weights that do not learn.
        learning: weights that learn; of an adapter FSDP leaves them whole on each device.
        gathered: weights that are whole at the same time while all others are divided.
    """

    frozen: int
    learning: int
    gradients: int
    optimizer: int
    gathered: int = 0
    is_adapter: bool = False


class Share(NamedTuple):
    """Bytes of one process.

    Attributes:
        weights: on its device, as are gradients and optimizer.
        exchange: on its device for a moment: layers that are gathered, with their gradients, or DDP's buckets.
        memory: in the machine's memory: what is offloaded to the CPU.
        disk: on the machine's disk: what is offloaded to NVMe.
    """

    weights: int
    gradients: int
    optimizer: int
    exchange: int
    memory: int
    disk: int


def share(whole: Sizes, plan: Plan, processes: int, machines: int = 1) -> Share:
    """Return the part of one of `processes` processes, which are those of all `machines` together."""
    parts = processes // machines if plan.hybrid else processes
    own_parts = 1 if plan.engine == "fsdp" and whole.is_adapter else parts
    weights = whole.frozen + whole.learning
    if plan.divides_weights:
        weights = whole.frozen // parts + whole.learning // own_parts
    gradients = whole.gradients // (own_parts if plan.stage >= 2 else 1)
    optimizer = whole.optimizer // (own_parts if plan.stage >= 1 else 1)
    values = ((weights, plan.offload_weights), (gradients + optimizer, plan.offload_optimizer))

    def at(device: Device) -> int:
        return sum(size for size, place in values if place == device)

    return Share(
        0 if plan.offload_weights else weights,
        0 if plan.offload_optimizer else gradients,
        0 if plan.offload_optimizer else optimizer,
        _exchange(whole, plan, parts),
        at("cpu"),
        at("nvme"),
    )


def _exchange(whole: Sizes, plan: Plan, parts: int) -> int:
    if not plan.divides_weights:
        return whole.gradients if plan.engine == "ddp" and parts > 1 else 0
    if parts == 1 and not plan.offload_weights:
        return 0
    weights = whole.frozen + whole.learning
    gathered = weights if plan.stage == 2 else whole.gathered  # FSDP's stage 2 keeps them until the backward pass ends
    return gathered + (0 if whole.is_adapter else whole.gathered * whole.gradients // weights)
