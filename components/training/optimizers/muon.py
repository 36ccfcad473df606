"""Muon (Jordan 2024; Liu et al. 2025, arXiv 2502.16982), by PyTorch: updates of matrices are made orthogonal."""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import AdamW, Muon, Optimizer

from components.config import Params
from components.errors import ConfigError
from components.training.optimizers._groups import decay_groups


def build(model: Any, params: Params) -> Optimizer:
    """Return Muon over the trainable matrices, and AdamW over embeddings, the output layer and what is no matrix.

    Updates are scaled to the size of AdamW's, whose learning rates therefore hold.

    Raises:
        ConfigError: no trainable weight is a matrix of a layer.
    """
    train, learning_rate = params.train, params.train.learning_rate or 0.0
    ends = {id(layer.weight) for layer in (model.get_input_embeddings(), model.get_output_embeddings()) if layer}
    matrices: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for group in decay_groups(model, params):
        is_matrix = {id(weight): weight.ndim == 2 and id(weight) not in ends for weight in group["params"]}
        for groups, of_matrices in ((matrices, True), (others, False)):
            weights = [weight for weight in group["params"] if is_matrix[id(weight)] is of_matrices]
            groups += [{**group, "params": weights}] if weights else []
    if not matrices:
        raise ConfigError("optimizer: muon moves matrices, and no trainable weight is one; use adamw")
    muon = Muon(matrices, lr=learning_rate, adjust_lr_fn="match_rms_adamw")
    if not others:
        return muon
    betas = (train.adam_beta1, train.adam_beta2)
    return MuonAndAdamW(muon, AdamW(others, lr=learning_rate, betas=betas, eps=train.adam_epsilon))


class MuonAndAdamW(Optimizer):
    """Two optimizers as one, with the groups of both and one state."""

    def __init__(self, muon: Muon, adamw: AdamW) -> None:
        super().__init__([*muon.param_groups, *adamw.param_groups], {})
        self.parts = ((muon, slice(len(muon.param_groups))), (adamw, slice(len(muon.param_groups), None)))

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step with each."""
        loss = closure() if closure else None
        for optimizer, groups in self.parts:  # a checkpoint that was loaded has put other objects in their places
            optimizer.param_groups, optimizer.state = self.param_groups[groups], self.state
            optimizer.step()
        return loss
