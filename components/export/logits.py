"""Logits of a model on a few rows, and the difference between two models."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from components.errors import MartletError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def logits(model: "PreTrainedModel", rows: Sequence[list[int] | dict[str, Any]]) -> "list[torch.Tensor]":
    """Return the logits [tokens, vocabulary] of each row, [1, classes] of a classifier, or the hidden states
    [tokens, width] of an embedding, in float32 on the CPU; rows are never padded. A row is token ids, or a model's
    inputs for one row."""
    import torch

    model.eval()
    with torch.no_grad():
        named = [row if isinstance(row, dict) else {"input_ids": torch.tensor([row])} for row in rows]
        outputs = (model(**{n: _moved(v, model) for n, v in row.items()}, use_cache=False) for row in named)
        return [output[0].flatten(end_dim=-2).float().cpu() for output in outputs]


def _moved(value: "torch.Tensor", model: "PreTrainedModel") -> "torch.Tensor":
    """Return a tensor on the model's device; fractions in its precision."""
    return value.to(model.device, model.dtype if value.is_floating_point() else value.dtype)


def compare(expected: "list[torch.Tensor]", actual: "list[torch.Tensor]") -> dict[str, Any]:
    """Return the largest and mean absolute difference, and the share of positions with the same likeliest token.

    Raises:
        MartletError: a logit is not a finite number, or the vocabularies differ in size.
    """
    import torch

    before, after = torch.cat(expected), torch.cat(actual)
    if before.shape != after.shape:
        raise MartletError(f"the logits have different shapes: {tuple(before.shape)} and {tuple(after.shape)}")
    if not (before.isfinite().all() and after.isfinite().all()):
        raise MartletError("some logits are not finite numbers; the weights overflow in this precision")
    difference = (before - after).abs()
    return {
        "tokens": len(before),
        "max_abs_difference": float(f"{difference.max().item():.4g}"),
        "mean_abs_difference": float(f"{difference.mean().item():.4g}"),
        "argmax_agreement": round((before.argmax(-1) == after.argmax(-1)).double().mean().item(), 6),
    }


def require_close(
    name: str, expected: "list[torch.Tensor]", actual: "list[torch.Tensor]", tolerance: float
) -> dict[str, Any]:
    """Return the figures of `compare`.

    Raises:
        MartletError: the largest difference is above `tolerance`; the message begins with `name`.
    """
    figures = compare(expected, actual)
    if figures["max_abs_difference"] > tolerance:
        raise MartletError(
            f"{name}: the logits differ by up to {figures['max_abs_difference']:.3g} over {figures['tokens']} tokens "
            f"(mean {figures['mean_abs_difference']:.3g}), and merge_tolerance allows {tolerance:g}"
        )
    return figures
