"""LoRA's addition to a linear layer as one operation, for training on a CPU.

peft computes `result + lora_B(lora_A(x)) * scaling` operation by operation: four passes over a matrix as wide as the
layer, and as many backwards. A product with a matrix of eight columns is also up to six times slower in MKL than the
same product with eight rows, so that LoRA took a quarter of the time of a small model. Here the narrow matrices lie
on their side, and the scaled product is added as it is computed.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora.layer import Linear, LoraVariant


@contextmanager
def one_operation(model: Any) -> Generator[None]:
    """Let the plain LoRA layers of `model` on a CPU add their share in one operation, within the context only: peft
    does not merge layers that have a variant of its caller's."""
    layers = [layer for layer in model.modules() if type(layer) is Linear and layer.weight.device.type == "cpu"]
    plain = [
        (layer.lora_variant, adapter)
        for layer in layers
        for adapter in layer.lora_A
        if adapter not in layer.lora_variant and not layer.lora_bias[adapter]
    ]
    for variants, adapter in plain:
        variants[adapter] = OneOperation()
    try:
        yield
    finally:
        for variants, adapter in plain:
            del variants[adapter]


class OneOperation(LoraVariant):
    """The forward pass of a plain LoRA layer, by peft's door for variants of LoRA."""

    @staticmethod
    def forward(module: Any, active_adapter: str, x: torch.Tensor, result: torch.Tensor, **kwargs: Any) -> torch.Tensor:  # noqa: ARG004
        """Return `result` with the adapter's share of `x` added."""
        down, up = module.lora_A[active_adapter].weight, module.lora_B[active_adapter].weight
        x, scaling = module.lora_dropout[active_adapter](x), module.scaling[active_adapter]
        if not x.dtype == down.dtype == up.dtype == result.dtype or torch.is_autocast_enabled(x.device.type):
            return result + module.lora_B[active_adapter](module.lora_A[active_adapter](x)) * scaling
        return _Addition.apply(result, x, down, up, scaling)


class _Addition(torch.autograd.Function):
    """result + scaling · x downᵀ upᵀ, for result [… , out], x [… , in], down [rank, in] and up [out, rank]."""

    @staticmethod
    def forward(ctx: Any, result: Any, x: Any, down: Any, up: Any, scaling: float) -> Any:
        inner = down @ x.flatten(0, -2).t()  # [rank, tokens]
        ctx.save_for_backward(x, inner, down, up)
        ctx.scaling = scaling
        return torch.addmm(result.flatten(0, -2), inner.t(), up.t(), alpha=scaling).view_as(result)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        grad, (x, inner, down, up) = grads[0], ctx.saved_tensors
        rows = grad.flatten(0, -2)
        grad_inner = (up.t() @ rows.t()) * ctx.scaling  # [rank, tokens]
        grad_x = (grad_inner.t() @ down).view_as(x) if ctx.needs_input_grad[1] else None
        grad_down = grad_inner @ x.flatten(0, -2) if ctx.needs_input_grad[2] else None
        grad_up = ((inner @ rows) * ctx.scaling).t() if ctx.needs_input_grad[3] else None
        return grad, grad_x, grad_down, grad_up, None
