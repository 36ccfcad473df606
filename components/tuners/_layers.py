"""Layers of a model, for any architecture: those that parameters name, and the decoder's blocks."""

import math
from typing import TYPE_CHECKING, Any

from components.config import Params
from components.errors import ConfigError, did_you_mean
from components.towers import Parts
from components.tuners._linear import all_linear, can_learn, is_linear

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

ALL_LINEAR = "all-linear"


def targets(model: "PreTrainedModel", params: Params) -> set[str]:
    """Return the full names of the layers that `target_modules` means.

    Raises:
        ConfigError: none is given; a name matches no layer, or none where an adapter can learn; or one of
            `modules_to_save` matches nothing.
    """
    saved_layers(model, params)
    if not params.tuner.target_modules:
        raise ConfigError(f"target_modules: no layer is named; give names of layers, or {ALL_LINEAR}")
    candidates = [
        name
        for name, module in model.named_modules()
        if (hasattr(module, "weight") or is_linear(module)) and "norm" not in name
    ]
    parts, frozen = Parts(model), params.towers.frozen()
    layers: set[str] = set()
    for target in params.tuner.target_modules:
        if target == ALL_LINEAR:
            layers |= all_linear(model, frozen)
        else:
            named = can_learn(model, matching(candidates, target, "target_modules"))
            if len(named) > 1:  # the towers' layers may have the same names; one that is named in full is meant
                named = {name for name in named if parts.of(name) not in frozen}
            if not named:
                raise ConfigError(f"target_modules: an adapter on '{target}' would learn nothing; leave it out")
            layers |= named
    if not layers and frozen and any(all_linear(model, ())):
        names = ", ".join(f"freeze_{part}" for part in sorted(frozen))
        raise ConfigError(f"{names}: no layer is left to learn; set one of them to false")
    if not layers:
        raise ConfigError(f"target_modules: {type(model).__name__} has no linear layers; name the layers")
    return layers


def saved_layers(model: "PreTrainedModel", params: Params) -> set[str]:
    """Return the full names of the modules that `modules_to_save` means.

    Raises:
        ConfigError: a name matches no module.
    """
    names = [name for name, _ in model.named_modules()]
    return {full for name in params.tuner.modules_to_save for full in matching(names, name, "modules_to_save")}


def quantized_layers(model: "PreTrainedModel", params: Params) -> list[str]:
    """Return the linear layers but the output head in the modules that `modules_to_save` means, in order.

    Raises:
        ConfigError: a name matches no module.
    """
    head = model.get_output_embeddings()
    return sorted(
        f"{name}.{part}".removesuffix(".")
        for name in saved_layers(model, params)
        for part, module in model.get_submodule(name).named_modules()
        if is_linear(module) and module is not head
    )


def matching(names: list[str], target: str, parameter: str) -> set[str]:
    layers = {name for name in names if name == target or name.endswith(f".{target}")}
    if not layers:
        existing = sorted({name.rpartition(".")[2] for name in names if name} - {str(i) for i in range(1000)})
        raise ConfigError(
            f"{parameter}: no layer of the model is called '{target}'{did_you_mean(target, existing)}; "
            f"there are {', '.join(existing)}" + (f", or {ALL_LINEAR}" if parameter == "target_modules" else "")
        )
    return layers


def short_names(model: "PreTrainedModel", layers: set[str]) -> list[str]:
    """Return the last parts of the names where they mean the same layers, as other tools expect them; else the full
    names."""
    last = {name.rpartition(".")[2] for name in layers}
    same = {name for name, _ in model.named_modules() if name.rpartition(".")[2] in last}
    return sorted(last if same == layers else layers)


def require_divisor(model: "PreTrainedModel", layers: set[str], number: int, parameter: str) -> None:
    """Check that `number` divides the input size of each of the linear layers `layers`.

    Raises:
        ConfigError: it does not, with the nearest numbers that do; or a layer is not linear.
    """
    modules = {name: model.get_submodule(name) for name in sorted(layers)}
    sizes = {name: getattr(module, "in_features", getattr(module, "nx", 0)) for name, module in modules.items()}
    for name, size in sizes.items():
        if not size:
            raise ConfigError(f"target_modules: {name} is not a linear layer, which this tuner needs")
        if size % number:
            common = math.gcd(*sizes.values())
            divisors = [n for n in range(1, common + 1) if common % n == 0]
            nearest = [*[n for n in divisors if n < number][-1:], *[n for n in divisors if n > number][:1]]
            raise ConfigError(
                f"{parameter}: {number} does not divide the {size} inputs of {name}; the nearest numbers that divide "
                f"those of every target layer are {' and '.join(map(str, nearest))}"
            )


def blocks(model: Any) -> "dict[str, nn.Module]":
    """Return the blocks of a decoder by their full names: the longest list of modules in the model.

    Raises:
        ConfigError: the model has no list of modules.
    """
    from torch import nn

    lists = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise ConfigError(f"tuner_type: {type(model).__name__} has no list of blocks to train in; use lora")
    name, longest = max(lists, key=lambda pair: len(pair[1]))
    return {f"{name}.{number}": block for number, block in enumerate(longest)}


def hidden_size(model: "PreTrainedModel") -> int:
    """Return how many numbers a hidden state between the blocks of a model has."""
    config: Any = model.config.get_text_config()
    return config.hidden_size


def output_projections(block: "nn.Module", width: int) -> "dict[str, nn.Module]":
    """Return by name the linear layers with which the parts of a block (attention, feed-forward) write their result of
    `width` numbers: the last one of each part."""
    projections: dict[str, Any] = {}
    for part_name, part in block.named_children():
        linear = [(n, m) for n, m in part.named_modules() if getattr(m, "out_features", getattr(m, "nf", 0)) == width]
        if linear:
            name, module = linear[-1]
            projections[f"{part_name}.{name}".removesuffix(".")] = module
    return projections
