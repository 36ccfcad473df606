"""What a model says, token by token, and how far two models are apart."""

from typing import TYPE_CHECKING, Any

from components.errors import MartletError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def logits(model: "PreTrainedModel", rows: list[list[int]]) -> "list[torch.Tensor]":
    """Logits [tokens, vocabulary] in float32 on the CPU, one tensor per row; rows are never padded."""
    import torch

    model.eval()
    with torch.no_grad():
        return [
            model(torch.tensor([row], device=model.device), use_cache=False).logits[0].float().cpu() for row in rows
        ]


def compare(expected: "list[torch.Tensor]", found: "list[torch.Tensor]") -> dict[str, Any]:
    """Largest and mean absolute difference of the logits, and the share of positions whose likeliest token agrees.

    Raises:
        MartletError: a logit is not a finite number, or the vocabularies differ in size.
    """
    import torch

    one, other = torch.cat(expected), torch.cat(found)
    if one.shape != other.shape:
        raise MartletError(f"the logits have other shapes: {tuple(one.shape)} and {tuple(other.shape)}")
    if not (one.isfinite().all() and other.isfinite().all()):
        raise MartletError("some logits are not finite numbers; the weights overflow in this precision")
    difference = (one - other).abs()
    return {
        "tokens": len(one),
        "max_abs_difference": float(f"{difference.max().item():.4g}"),
        "mean_abs_difference": float(f"{difference.mean().item():.4g}"),
        "argmax_agreement": round((one.argmax(-1) == other.argmax(-1)).double().mean().item(), 6),
    }


def require_close(
    what: str, expected: "list[torch.Tensor]", found: "list[torch.Tensor]", tolerance: float
) -> dict[str, Any]:
    """Compare, and return the figures.

    Raises:
        MartletError: the largest difference is above `tolerance`; `what` begins the message.
    """
    figures = compare(expected, found)
    if figures["max_abs_difference"] > tolerance:
        raise MartletError(
            f"{what}: the logits differ by up to {figures['max_abs_difference']:.3g} over {figures['tokens']} tokens "
            f"(mean {figures['mean_abs_difference']:.3g}), and merge_tolerance allows {tolerance:g}"
        )
    return figures
