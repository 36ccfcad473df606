"""Cross entropy that computes its gradient beside the loss, in pieces that fit a cache: it reads the logits from memory
once, and needs one tensor of their size where PyTorch's needs two."""

from typing import Any

import torch

CPU_PIECE, GPU_PIECE = 1 << 17, 1 << 26
"""Logits of a piece: half a megabyte of float32 fits a core's cache; a GPU wants few, large kernels."""


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the cross entropy of each token in nats, in float32; logits [tokens, vocabulary], targets [tokens]."""
    return _CrossEntropy.apply(logits, targets)


def are_likeliest(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return which tokens [tokens] are the likeliest, or as likely as the likeliest."""
    return logits.gather(-1, targets[:, None])[:, 0] >= logits.amax(-1)


@torch.no_grad()
def entropies(logits: torch.Tensor) -> torch.Tensor:
    """Return the entropy of each token's distribution in nats, in float32; logits [tokens, vocabulary]."""
    rows = max(1, (CPU_PIECE if logits.device.type == "cpu" else GPU_PIECE) // logits.shape[-1])
    parts = [piece.float().log_softmax(-1) for piece in logits.split(rows)]
    return torch.cat([-(part.exp() * part).sum(-1) for part in parts])


class _CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        learns = ctx.needs_input_grad[0]
        gradient = torch.empty_like(logits) if learns else None
        losses = torch.empty(len(logits), dtype=torch.float32, device=logits.device)
        rows = max(1, (CPU_PIECE if logits.device.type == "cpu" else GPU_PIECE) // logits.shape[-1])
        for start in range(0, len(logits), rows):
            piece, wanted = logits[start : start + rows].float(), targets[start : start + rows, None]
            shares = piece.softmax(-1)
            # the logarithm of the sum of exponentials: the likeliest token's share is 1 / the sum, relative to its own
            total = piece.amax(-1) - shares.amax(-1).log()
            losses[start : start + rows] = total - piece.gather(-1, wanted)[:, 0]
            if gradient is not None:
                shares.scatter_add_(-1, wanted, shares.new_full((len(piece), 1), -1.0))
                gradient[start : start + rows] = shares
        if gradient is not None:
            ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        (gradient,) = ctx.saved_tensors
        return gradient.mul_(grads[0][:, None].to(gradient.dtype)), None
