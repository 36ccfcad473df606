"""How far the distributions of a model are from those of its teacher, in pieces of a bounded size."""

import math

import torch
from torch.utils.checkpoint import checkpoint

PIECE = 1 << 26
"""Logits of a piece; its probabilities take 256 MiB each, and are computed again for the gradient."""


def divergences(student: torch.Tensor, teacher: torch.Tensor, beta: float) -> torch.Tensor:
    """Return for each token the generalised Jensen-Shannon divergence of two distributions in nats, in float32.

    With `beta` 0 that is the Kullback-Leibler divergence of the student from the teacher (forward), with 1 that of the
    teacher from the student (reverse). Where one has more logits, which pad its vocabulary, these are left out.

    Args:
        student: logits [tokens, vocabulary].
        teacher: logits [tokens, vocabulary], which get no gradient.
    """
    width = min(student.shape[-1], teacher.shape[-1])
    rows = max(1, PIECE // width)
    pieces = zip(student[:, :width].split(rows), teacher[:, :width].split(rows), strict=True)
    return torch.cat([checkpoint(_divergences, *piece, beta, use_reentrant=False) for piece in pieces])


def _divergences(student: torch.Tensor, teacher: torch.Tensor, beta: float) -> torch.Tensor:
    own, theirs = student.float().log_softmax(-1), teacher.float().log_softmax(-1)
    if beta == 0:
        return _kl(theirs, own)
    if beta == 1:
        return _kl(own, theirs)
    mixture = torch.logaddexp(theirs + math.log(beta), own + math.log1p(-beta))
    return beta * _kl(theirs, mixture) + (1 - beta) * _kl(own, mixture)


def _kl(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Return the Kullback-Leibler divergence of each distribution of the second from the first, by logarithms."""
    return (first.exp() * (first - second)).sum(-1)


def agreements(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Return 1 for each token where both find the same one the likeliest, else 0."""
    width = min(student.shape[-1], teacher.shape[-1])
    return (student[:, :width].argmax(-1) == teacher[:, :width].argmax(-1)).float()
