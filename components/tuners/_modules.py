"""Modules of our own, which read and change what a layer of a frozen model puts out.

A module is a child of its layer, named as the tuner is, and runs in a forward hook: the model stays what it is, and the
files are those of an adapter. peft's `register_peft_method` takes the names of its own enumeration alone (0.21), so
these tuners are none of peft's.
"""

from collections.abc import Callable, Mapping
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.config import Params
from components.errors import MartletError
from components.files import read_json, write_json
from components.tuners._files import CONFIG, WEIGHTS, read_weights, require_files
from components.tuners._layers import saved_layers

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedModel

Wrap = Callable[["PreTrainedModel", Params, int], "PreTrainedModel"]


def with_modules(
    model: "PreTrainedModel", params: Params, name: str, modules: "Mapping[str, nn.Module]"
) -> "PreTrainedModel":
    """Return `model`, frozen, with one of `modules` in each layer that they are given for, by its full name.

    A module takes and returns hidden states of shape [rows, length, width], in float32.
    """
    model.requires_grad_(False)
    for saved in saved_layers(model, params):
        model.get_submodule(saved).requires_grad_(True)
    for layer_name, module in modules.items():
        layer = model.get_submodule(layer_name)
        layer.add_module(name, module.to(next(chain(layer.parameters(), layer.buffers())).device))
        layer.register_forward_hook(_change_output(module))
    settings = {group: getattr(params, group).model_dump() for group in ("tuner", name)}
    model.adapter_settings = settings  # type: ignore[assignment]
    return model


def _change_output(module: "nn.Module") -> Any:
    """Return a hook that replaces the hidden states in a layer's output by what `module` makes of them."""

    def change(layer: Any, inputs: Any, output: Any) -> Any:  # noqa: ARG001
        hidden, *rest = output if isinstance(output, tuple) else (output,)
        changed = module(hidden.float()).to(hidden.dtype)
        return (changed, *rest) if isinstance(output, tuple) else changed

    return change


def trained_weights(model: "nn.Module") -> "dict[str, torch.Tensor]":
    """Return the weights of a model that learn, by name."""
    return {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}


def save(model: "PreTrainedModel", folder: Path, base: str | None = None) -> None:
    """Write adapter_config.json, with the tuner's parameters and the base's name, and adapter_model.safetensors."""
    from safetensors.torch import save_file

    settings: Any = model.adapter_settings
    write_json(folder / CONFIG, {**settings, "base_model_name_or_path": base})
    save_file({name: weight.contiguous() for name, weight in trained_weights(model).items()}, folder / WEIGHTS)


def restore(model: "PreTrainedModel", folder: Path) -> None:
    """Read the weights of saved modules into a model that has the same modules; raises as `read_weights`."""
    import torch

    trained = trained_weights(model)
    weights = read_weights(folder, trained)
    with torch.no_grad():
        for name, weight in trained.items():
            weight.copy_(weights[name])


def load(model: "PreTrainedModel", folder: Path, wrap: Wrap) -> "PreTrainedModel":
    """Return `model` with the modules that `wrap` puts into it, as they were saved, ready to answer.

    Raises:
        ConfigError, MartletError: as `wrap` and `read_weights`.
    """
    require_files(folder)
    settings = {name: value for name, value in read_json(folder / CONFIG).items() if isinstance(value, dict)}
    adapted = wrap(model, Params.model_validate(settings), 0)
    restore(adapted, folder)
    return adapted.eval()


def refuse_merge(model: "PreTrainedModel") -> "PreTrainedModel":  # noqa: ARG001
    """Raise MartletError: a module that depends on its input is no change of a weight."""
    raise MartletError("the adapter cannot be merged: what it does depends on its input; serve it on its base")
