"""ReFT (Wu et al. 2024, arXiv 2404.03592): low-rank interventions on the hidden states that blocks put out.

The interventions are those of the authors' package pyreft, at every position.
"""

from pathlib import Path

import torch
from torch import nn
from torch.nn.utils.parametrize import register_parametrization
from transformers import PreTrainedModel

from components.config import Params
from components.errors import ConfigError, did_you_mean
from components.tuners import _modules
from components.tuners._layers import blocks, hidden_size, saved_layers
from components.tuners._modules import refuse_merge as merge
from components.tuners._modules import restore, save, with_modules

__all__ = ["LEARNING_RATE", "load", "merge", "require_fit", "restore", "save", "wrap"]

LEARNING_RATE = 4e-3
MERGES = False
TARGETS = False
FORMS = {
    "LoreftIntervention": (True, True, True),
    "NoreftIntervention": (True, True, False),
    "ConsreftIntervention": (False, True, True),
    "LobireftIntervention": (False, False, True),
    "DireftIntervention": (True, False, True),
    "NodireftIntervention": (True, False, False),
}
"""By name: whether the source depends on the hidden state, whether the state's own part in the subspace is taken away,
and whether the subspace has an orthonormal basis."""


class Orthonormal(nn.Module):
    """Turns a matrix [rank, width] into one with orthonormal rows that span the same space.

    torch's own `orthogonal` (2.13) keeps signs in a diagonal that weight decay sets to zero.
    """

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        q, r = torch.linalg.qr(weight.T)
        return (q * r.diagonal().sign()).T


class Intervention(nn.Module):
    """h + (source(h) - h Rᵀ) R, with R of shape [rank, width]: sets h in a subspace of `rank` dimensions.

    A source that depends on h begins where nothing is changed.
    """

    def __init__(self, width: int, rank: int, form: str) -> None:
        super().__init__()
        depends, self.replaces, is_orthonormal = FORMS[form]
        basis = nn.Linear(width, rank, bias=False)
        nn.init.orthogonal_(basis.weight)
        self.source: nn.Linear | None = nn.Linear(width, rank) if depends else None
        if self.source:
            self.source.weight.data = basis.weight.detach() * self.replaces
            nn.init.zeros_(self.source.bias)
        else:
            self.constant = nn.Parameter(torch.zeros(rank))
        if is_orthonormal:
            register_parametrization(basis, "weight", Orthonormal())
        self.basis = basis

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        basis = self.basis.weight
        change = self.source(hidden) if self.source else self.constant.expand(*hidden.shape[:-1], -1)
        if self.replaces:
            change = change - hidden @ basis.T
        return hidden + change @ basis


def wrap(model: PreTrainedModel, params: Params, seed: int) -> PreTrainedModel:
    """Freeze `model` and put an intervention behind each block, or behind those that `reft_layers` numbers.

    Raises:
        ConfigError: as `require_fit`.
    """
    require_fit(model, params)
    torch.manual_seed(seed)
    reft, names = params.reft, list(blocks(model))
    modules = {
        names[number]: Intervention(hidden_size(model), reft.reft_rank, reft.reft_intervention_type)
        for number in reft.reft_layers or range(len(names))
    }
    return with_modules(model, params, "reft", modules)


def require_fit(model: PreTrainedModel, params: Params) -> None:
    """Raise ConfigError where the model lacks a block, dimensions or a module to save, or the form is unknown."""
    saved_layers(model, params)
    count, width, reft = len(blocks(model)), hidden_size(model), params.reft
    form = reft.reft_intervention_type
    if form not in FORMS:
        raise ConfigError(
            f"reft_intervention_type: there is no '{form}'{did_you_mean(form, FORMS)}; choose one of {', '.join(FORMS)}"
        )
    if wrong := [str(number) for number in reft.reft_layers if not 0 <= number < count]:
        raise ConfigError(f"reft_layers: {', '.join(wrong)}: the model's blocks are 0 to {count - 1}")
    if reft.reft_rank > width:
        raise ConfigError(f"reft_rank: {reft.reft_rank} dimensions are more than the {width} of the hidden states")


def load(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Return the base `model` with saved interventions; raises as `wrap`, and MartletError where a tensor does not
    fit."""
    return _modules.load(model, folder, wrap)
