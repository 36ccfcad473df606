"""Bottleneck adapters (Houlsby et al. 2019, arXiv 1902.00751): two small layers behind each part of a block."""

from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.activations import ACT2FN

from components.config import Params
from components.errors import ConfigError
from components.tuners import _modules
from components.tuners._layers import blocks, hidden_size, output_projections
from components.tuners._modules import refuse_merge as merge
from components.tuners._modules import restore, save, with_modules

__all__ = ["LEARNING_RATE", "load", "merge", "restore", "save", "wrap"]

LEARNING_RATE = 1e-3
MERGES = False


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
        ConfigError: the model has no blocks, or no such layers in them; or `modules_to_save` matches nothing.
    """
    torch.manual_seed(seed)
    width = hidden_size(model)
    names = [f"{name}.{end}" for name, block in blocks(model).items() for end in output_projections(block, width)]
    if not names:
        raise ConfigError(f"tuner_type: no linear layer of {type(model).__name__} writes hidden states; use lora")
    adapter = params.adapter
    modules = {name: Bottleneck(width, adapter.adapter_length, adapter.adapter_act) for name in names}
    return with_modules(model, params, "adapter", modules)


def load(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Return the base `model` with saved bottlenecks; raises as `wrap`, and MartletError where a tensor does not
    fit."""
    return _modules.load(model, folder, wrap)
