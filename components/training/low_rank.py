"""LoRA's addition to a linear layer as one operation.

peft computes `result + lora_B(lora_A(x)) * scaling` operation by operation: four passes over a matrix as wide as the
layer, and as many backwards. For a base in bfloat16, whose adapter learns in float32, each pass is over float32: peft
casts `x`, and autocast casts the copy back. Here the scaled product is added as it is computed, in the precision of
the base. On a CPU a product with a matrix of eight columns is also up to six times slower in MKL than the same product
with eight rows, so the narrow matrices lie on their side.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from peft.tuners.lora.layer import Linear, LoraVariant


@contextmanager
def one_operation(model: Any) -> Generator[None]:
    """Let the plain LoRA layers of `model` add their share in one operation, within the context only: peft does not
    merge layers that have a variant of its caller's."""
    layers = [layer for layer in model.modules() if type(layer) is Linear and is_plain(layer)]
    for layer in layers:
        layer.lora_variant.update(dict.fromkeys(layer.lora_A, OneOperation()))
        layer.cast_input_dtype_enabled = False
    try:
        yield
    finally:
        for layer in layers:
            layer.lora_variant.clear()
            layer.cast_input_dtype_enabled = True


def is_plain(layer: Any) -> bool:
    """Return whether every adapter of a LoRA layer adds its product and nothing else."""
    return not layer.lora_variant and not any(layer.lora_bias.values())


class OneOperation(LoraVariant):
    """The forward pass of a plain LoRA layer, by peft's door for variants of LoRA."""

    @staticmethod
    def forward(module: Any, active_adapter: str, x: torch.Tensor, result: torch.Tensor, **kwargs: Any) -> torch.Tensor:  # noqa: ARG004
        """Return `result` with the adapter's share of `x` added."""
        down, up = (part[active_adapter].weight.to(result.dtype) for part in (module.lora_A, module.lora_B))
        x = module.lora_dropout[active_adapter](x.to(result.dtype))
        return _Addition.apply(result, x, down, up, module.scaling[active_adapter])


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
