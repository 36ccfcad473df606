"""Bottleneck adapters (Houlsby et al. 2019, arXiv 1902.00751): two small layers behind each part of a block."""

from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN

from components.config import Params
from components.errors import ConfigError, did_you_mean
from components.tuners import _modules
from components.tuners._layers import blocks, hidden_size, output_projections, saved_layers
from components.tuners._modules import refuse_merge as merge
from components.tuners._modules import restore, save, with_modules

__all__ = ["LEARNING_RATE", "load", "merge", "require_fit", "restore", "save", "wrap"]

LEARNING_RATE = 1e-3
UNFIT_BASES = ("gptq", "awq")
"""Whose layers have an attribute of that name themselves."""
MERGES = False
TARGETS = False


class Bottleneck(nn.Module):
    """x + up(act(down(x))): `down` leads from `width` to `length` numbers, and `up` back; nothing is added at first."""

    def __init__(self, width: int, length: int, act: str) -> None:
        super().__init__()
        self.down, self.act, self.up = nn.Linear(width, length), ACT2FN[act], nn.Linear(length, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + self.up(self.act(self.down(hidden)))


def wrap(model: PreTrainedModel, params: Params, seed: int) -> PreTrainedModel:
    """Freeze `model` and put a bottleneck behind the last linear layer of each attention and each feed-forward part.

    Raises:
        ConfigError: as `require_fit`.
    """
    require_fit(model, params)
    torch.manual_seed(seed)
    adapter, width = params.adapter, hidden_size(model)
    modules = {name: Bottleneck(width, adapter.adapter_length, adapter.adapter_act) for name in _places(model)}
    return with_modules(model, params, "adapter", modules)


def require_fit(model: PreTrainedModel, params: Params) -> None:
    """Raise ConfigError where the model has no blocks, or no such layers in them; where `modules_to_save` matches
    nothing; or where there is no such activation."""
    saved_layers(model, params)
    act = params.adapter.adapter_act
    if act not in ACT2FN:
        known = sorted(ACT2FN)
        raise ConfigError(
            f"adapter_act: there is no activation '{act}'{did_you_mean(act, known)}; choose one of {', '.join(known)}"
        )
    if not _places(model):
        raise ConfigError(f"tuner_type: no linear layer of {type(model).__name__} writes hidden states; use lora")


def _places(model: PreTrainedModel) -> list[str]:
    """Return the names of the layers that get a bottleneck behind them."""
    width = hidden_size(model)
    return [f"{name}.{end}" for name, block in blocks(model).items() for end in output_projections(block, width)]


def load(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Return the base `model` with saved bottlenecks; raises as `wrap`, and MartletError where a tensor does not
    fit."""
    return _modules.load(model, folder, wrap)
