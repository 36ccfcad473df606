"""Linear layers of a model, for any architecture: all those with which an adapter can learn."""

import inspect
import re
from collections.abc import Collection
from functools import cache
from typing import TYPE_CHECKING, Any

from components.classes import HEAD
from components.errors import ConfigError
from components.sharded import is_partitioned
from components.towers import Parts, has_towers

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

PROBE_TOKENS = 8
OTHERS_MODULES = ("torch.", "transformers.models.")
"""Packages whose layers are linear only where they say so by their class; other packages' layers are quantized ones."""


def all_linear(model: "PreTrainedModel", frozen: Collection[str]) -> set[str]:
    """Return the full names of the linear layers but the output head, or a classifier's; of a model that also sees or
    hears, those outside of the `frozen` parts."""
    from torch import nn

    heads, parts = (model.get_output_embeddings(), getattr(model, HEAD, None)), Parts(model)
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    linear = {
        name
        for name, module in model.named_modules()
        if module not in heads
        and not isinstance(module, nn.Embedding)
        and is_linear(module)
        and id(getattr(module, "weight", None)) not in tables  # an output head of a part, as BLIP's
    }
    return can_learn(model, {name for name in linear if parts.of(name) not in frozen})


def can_learn(model: "PreTrainedModel", layers: set[str]) -> set[str]:
    """Return those of `layers` where an adapter changes the logits and gets a gradient.

    The others are of no use to a text: cross-attention of a decoder alone, a pooler, an indexer that only chooses. Or
    the weight is used without calling the layer, as Mamba's kernels do. Layers whose names differ in numbers alone are
    taken as one, since a text passes a few experts only. Of a model without values, or whose weights ZeRO-3 divides,
    all are returned, and so are all layers of towers and aligners, which no text reaches.
    """
    called, parts = {name for name in layers if not _is_bypassed(model, name)}, Parts(model)
    beside = {name for name in called if parts.of(name) != "llm"}
    called -= beside
    if not called or any(weight.is_meta or is_partitioned(weight) for weight in model.parameters()):
        return called | beside
    reached = _reached(model, called)
    return beside | {name for name in called if _kind(name) in reached}


def _reached(model: "PreTrainedModel", layers: set[str]) -> set[str]:
    """Return the kinds of `layers` from which a gradient leads back from the logits of a few tokens: zero is added to
    what each layer puts out, and the logits' derivative by that zero exists or does not."""
    import torch

    zeros = {_kind(name): torch.zeros(1, requires_grad=True) for name in layers}

    def add(zero: torch.Tensor) -> Any:
        def change(layer: Any, inputs: Any, output: Any) -> Any:  # noqa: ARG001
            return output + zero.to(output) if isinstance(output, torch.Tensor) else None

        return change

    hooks = [model.get_submodule(name).register_forward_hook(add(zeros[_kind(name)])) for name in layers]
    was_training = model.training
    try:
        with torch.random.fork_rng(), torch.enable_grad():
            ids = torch.arange(2, 2 + PROBE_TOKENS, device=model.device)[None]
            output: Any = model.eval()(input_ids=ids, use_cache=False)[0]  # logits, or hidden states without a head
            gradients: Any = torch.autograd.grad(output.float().square().sum(), list(zeros.values()), allow_unused=True)
    except Exception as error:
        if has_towers(model):
            return set(zeros)
        # it would not train either
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"model: {type(model).__name__} cannot read token ids alone: {why}") from error
    finally:
        model.train(was_training)
        for hook in hooks:
            hook.remove()
    return {kind for kind, gradient in zip(zeros, gradients, strict=True) if gradient is not None}


def _kind(name: str) -> str:
    return re.sub(r"(?<=\.)\d+(?=\.|$)", "#", name)


def is_linear(module: Any) -> bool:
    """Return whether a layer returns the product of its input and its weight: a linear layer, GPT-2's Conv1D, a
    quantized layer, or a subclass of these that does the same, which a router is not."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    if isinstance(module, nn.Linear) and type(module).forward is not nn.Linear.forward:
        return not type(module).__module__.startswith(OTHERS_MODULES) or _multiplies(module)
    if isinstance(module, nn.Linear | Conv1D):
        return True
    has_sizes = hasattr(module, "in_features") and hasattr(module, "out_features")
    return has_sizes and not type(module).__module__.startswith((*OTHERS_MODULES, "components.", "peft."))


def _multiplies(layer: Any) -> bool:
    """Return whether the layer makes [2, in] into [2, out]; tried without values, so that neither device nor precision
    matters."""
    import torch

    try:
        empty = type(layer)(layer.in_features, layer.out_features, bias=layer.bias is not None).to("meta")
        output: Any = empty(torch.zeros(2, layer.in_features, device="meta"))
    except Exception:  # whatever it wants, it is no such input
        return False
    return isinstance(output, torch.Tensor) and output.shape == (2, layer.out_features)


def _is_bypassed(model: "PreTrainedModel", name: str) -> bool:
    """Return whether the parent of a layer reads its weight without calling it, as Mamba's kernels do."""
    return name.rpartition(".")[2] in _read_weights(type(_parent(model, name)))


@cache
def _read_weights(module_class: "type[nn.Module]") -> frozenset[str]:
    """Return the layers of a class whose weights its own code multiplies with.

    Asking for the precision or the place of a weight is no such use, nor is a slice (Bloom's `slow_but_exact`).
    """
    if not module_class.__module__.startswith(OTHERS_MODULES):
        return frozenset()
    source = inspect.getsource(module_class)
    return frozenset(re.findall(r"(?<!isinstance\()self\.(\w+)\.weight\b(?!\.(?:dtype|device|shape)|\[)", source))


def _parent(model: "PreTrainedModel", name: str) -> Any:
    return model.get_submodule(name.rpartition(".")[0])
