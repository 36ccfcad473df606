"""LLaMA Pro (Wu et al. 2024, arXiv 2401.02415): new blocks between frozen ones, copies that change nothing at first."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from components.config import Params
from components.errors import ConfigError
from components.tuners import _modules
from components.tuners._layers import blocks, hidden_size, output_projections, saved_layers
from components.tuners._modules import restore, save

__all__ = ["LEARNING_RATE", "load", "merge", "require_fit", "restore", "save", "wrap"]

LEARNING_RATE = 1e-4
QUANTIZED_BASE = False
TARGETS = False
PROBE = torch.arange(1, 9)[None]
TOLERANCE = 1e-4
"""Largest difference of logits between the model and its extension, in float32."""


def wrap(model: PreTrainedModel, params: Params, seed: int) -> PreTrainedModel:  # noqa: ARG001
    """Freeze `model` and put copies of blocks behind them, whose output projections are zero and which learn.

    Raises:
        ConfigError: the new blocks do not divide among the groups, or the architecture cannot be extended so; or
            `modules_to_save` matches nothing.
    """
    model.requires_grad_(False)
    for saved in saved_layers(model, params):
        model.get_submodule(saved).requires_grad_(True)
    names = list(blocks(model))
    sources = _sources(len(names), params)
    before = None if model.device.type == "meta" else _logits(model)  # an outline has no values
    _extend(model, names[0].rpartition(".")[0], sources)
    if before is not None and not torch.allclose(before, _logits(model), atol=TOLERANCE):
        raise ConfigError(
            f"tuner_type: llamapro cannot extend {type(model).__name__}: its blocks do not write through linear "
            "layers alone; use lora"
        )
    model.adapter_settings = {name: getattr(params, name).model_dump() for name in ("tuner", "llamapro")}  # type: ignore[assignment]
    return model


def require_fit(model: PreTrainedModel, params: Params) -> None:
    """Raise ConfigError where the blocks, or the new ones, do not divide among the groups, or `modules_to_save` matches
    nothing."""
    saved_layers(model, params)
    _sources(len(blocks(model)), params)


def load(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """Return the base `model` with saved blocks; raises as `wrap`, and MartletError where a tensor does not fit."""
    return _modules.load(model, folder, wrap)


def merge(model: PreTrainedModel) -> PreTrainedModel:
    """Return `model`, whose configuration counts the new blocks."""
    return model


def _sources(count: int, params: Params) -> list[tuple[int, bool]]:
    """Return the blocks of the extended model: the number of the block that each is, and whether it is a new copy.

    Raises:
        ConfigError: the blocks, or the new ones, do not divide among the groups.
    """
    new = params.llamapro.llamapro_num_new_blocks
    groups = params.llamapro.llamapro_num_groups or new
    for number, what in ((count, "blocks of the model"), (new, "new blocks (--llamapro_num_new_blocks)")):
        if number % groups:
            possible = [n for n in range(1, count + 1) if count % n == 0 and new % n == 0]
            raise ConfigError(
                f"llamapro_num_groups: {number} {what} do not divide among {groups} groups; possible numbers are "
                f"{', '.join(map(str, possible))}"
            )
    size, copies = count // groups, new // groups
    return [
        entry
        for group in range(groups)
        for entry in (
            *((number, False) for number in range(group * size, (group + 1) * size)),
            *[((group + 1) * size - 1, True)] * copies,
        )
    ]


def _extend(model: PreTrainedModel, root: str, sources: list[tuple[int, bool]]) -> None:
    """Replace the list of blocks called `root`, and the entries of the configuration that describe it."""
    old, width = list(model.get_submodule(root).children()), hidden_size(model)
    extended: list[nn.Module] = []
    for number, is_new in sources:
        block = copy.deepcopy(old[number]) if is_new else old[number]
        if is_new:
            block.requires_grad_(True)
            for projection in output_projections(block, width).values():
                for weight in projection.parameters():
                    nn.init.zeros_(weight)
        extended.append(block)
    for index, block in enumerate(extended):
        for module in block.modules():
            if isinstance(getattr(module, "layer_idx", None), int):
                module.layer_idx = index  # type: ignore[assignment]  # its place in the cache
    model.set_submodule(root, nn.ModuleList(extended))
    config: Any = model.config.get_text_config()
    if isinstance(types := getattr(config, "layer_types", None), list):
        config.layer_types = [types[number] for number, _ in sources]
    config.num_hidden_layers = len(sources)


def _logits(model: PreTrainedModel) -> torch.Tensor:
    with torch.no_grad():
        was_training = model.training
        logits = model.eval()(input_ids=PROBE.to(model.device), use_cache=False).logits.float()
        model.train(was_training)
    return logits
