"""Weights that are divided among processes: DTensors (FSDP2), and parameters that DeepSpeed's ZeRO-3 has partitioned.

All processes call these functions together, with the same weights in the same order.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def is_divided(weight: "torch.Tensor") -> bool:
    """Return whether each process holds only a part of `weight`."""
    return is_partitioned(weight) or _is_dtensor(weight)


def is_any_divided(model: Any) -> bool:
    """Return whether some weight of `model` is divided."""
    return any(map(is_divided, model.parameters()))


def numel(weight: "torch.Tensor") -> int:
    """Return the number of elements of the whole weight."""
    return weight.ds_numel if is_partitioned(weight) else weight.numel()  # type: ignore[attr-defined]


def block_sizes(model: Any) -> list[int]:
    """Return the number of elements of each block of layers, between which divided weights are gathered."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    blocks = (module for module in model.modules() if isinstance(module, GradientCheckpointingLayer))
    return [sum(map(numel, block.parameters())) for block in blocks]


def own_part(weight: "torch.Tensor") -> "torch.Tensor":
    """Return the values of `weight` that this process holds."""
    if is_partitioned(weight):
        return weight.ds_tensor.data  # type: ignore[attr-defined]
    return weight.to_local() if _is_dtensor(weight) else weight  # type: ignore[attr-defined]


@contextmanager
def readable(model: Any) -> Generator[None]:
    """Let a forward pass before or after the training read divided weights, module by module: ZeRO-3 gathers none
    without DeepSpeed's engine."""
    hooks = []
    for module in model.modules():
        if own := [weight for weight in module.parameters(recurse=False) if is_partitioned(weight)]:
            from deepspeed.runtime.zero import GatheredParameters

            gathered = GatheredParameters(own)
            hooks.append(module.register_forward_pre_hook(lambda *_, gathered=gathered: gathered.__enter__()))
            hooks.append(module.register_forward_hook(lambda *_, gathered=gathered: gathered.__exit__()))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        reshard(model)


def reshard(model: Any) -> None:
    """Let go of the whole weights that FSDP2, and DeepSpeed's engine, keep or still fetch after a forward pass that no
    backward pass follows."""
    if hasattr(model, "empty_partition_cache"):
        model.empty_partition_cache()
    for module in model.modules():
        if hasattr(module, "reshard"):
            module.reshard()


def shape(weight: "torch.Tensor") -> "torch.Size":
    """Return the shape of the whole weight."""
    return weight.ds_shape if is_partitioned(weight) else weight.shape  # type: ignore[attr-defined]


@contextmanager
def whole(weight: Any, writer: int | None = None) -> "Generator[torch.Tensor]":
    """Yield the whole weight; what the process `writer` changes in a parameter of ZeRO-3 then holds for all."""
    if is_partitioned(weight):
        from deepspeed.runtime.zero import GatheredParameters

        with GatheredParameters([weight], modifier_rank=writer):
            yield weight
    else:
        yield weight.full_tensor() if _is_dtensor(weight) else weight


@contextmanager
def writable(weights: "list[torch.Tensor]") -> Generator[None]:
    """Make parameters of ZeRO-3 whole in every process, to be written as any others; what process 0 writes then holds
    for all."""
    if partitioned := [weight for weight in weights if is_partitioned(weight)]:
        from deepspeed.runtime.zero import GatheredParameters

        with GatheredParameters(partitioned, modifier_rank=0):
            yield
    else:
        yield


def copy_(weight: "torch.Tensor", values: "torch.Tensor") -> None:
    """Write `values` into `weight`; both are whole, or divided in the same way."""
    import torch

    with torch.no_grad():
        if is_partitioned(weight):
            with whole(values) as source, whole(weight, writer=0) as target:
                target.data.copy_(source.data)
        else:
            own_part(weight).copy_(own_part(values))


def is_partitioned(weight: Any) -> bool:
    """Return whether `weight` is a parameter of DeepSpeed's ZeRO-3."""
    return hasattr(weight, "ds_id")


def _is_dtensor(weight: Any) -> bool:
    return hasattr(weight, "full_tensor")
