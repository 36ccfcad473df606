"""LoftQ (Li et al. 2023, arXiv 2310.08659), one iteration of it: LoRA begins with the largest part of what a
quantization took from the weights, so that base and adapter together begin nearer to the weights as they are stored.

The base stays as it is. peft's own (0.21) needs a GPU, and leaves LoRA's scaling out.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

PASSES = 16
"""Passes of the randomized SVD over a residual; they reach 99 % of the exact part in a tenth of its time."""


def initialise(model: "PeftModel") -> None:
    """Set A and B of each LoRA layer whose weight is quantized, by that weight in the files of the base.

    Raises:
        ConfigError: no layer of the adapter is quantized, or the files do not have the weight of one as it was
            quantized.
    """
    import torch
    from peft.tuners.lora import LoraLayer

    base: Any = model.get_base_model()
    stored, is_quantized = _Stored(base), False
    for name, layer in base.named_modules():
        quantized = unpacked(layer.base_layer) if isinstance(layer, LoraLayer) else None
        if quantized is None:
            continue
        is_quantized = True
        with torch.no_grad():
            weight = stored.weight(name, quantized, _is_transposed(layer.base_layer))
            _begin(layer, quantized, weight - quantized)
    if not is_quantized:
        raise ConfigError("init_weights: loftq: no target layer is quantized; name others with --target_modules")


def take_rounding(plain: "PreTrainedModel", quantized: "PreTrainedModel") -> None:
    """Set the weights of `plain` to what a quantization left of them in `quantized`, a model of the same base."""
    import torch

    for name, layer in quantized.named_modules():
        weight = unpacked(layer)
        if weight is not None:
            with torch.no_grad():
                target: Any = plain.get_submodule(name)
                target.weight.copy_(weight.T if _is_transposed(layer) else weight)


def unpacked(layer: Any) -> "torch.Tensor | None":
    """Return the weight of a quantized linear layer as plain numbers [outputs, inputs], None of any other module."""
    import torch
    from peft.utils.integrations import dequantize_module_weight

    if not hasattr(layer, "in_features") or type(getattr(layer, "weight", None)) is torch.nn.Parameter:
        return None
    weight = dequantize_module_weight(layer)
    return (weight if type(weight) is torch.Tensor else weight.dequantize()).detach().float()


def _is_transposed(layer: Any) -> bool:
    """Return whether a quantized layer took the place of GPT-2's Conv1D, whose weight is [inputs, outputs]."""
    from transformers.pytorch_utils import Conv1D

    return getattr(layer, "source_cls", None) is Conv1D  # as bitsandbytes' layers are marked by transformers


def _begin(layer: Any, quantized: "torch.Tensor", residual: "torch.Tensor") -> None:
    import torch

    a, b, scaling = layer.lora_A["default"].weight, layer.lora_B["default"].weight, layer.scaling["default"]
    rank = min(len(a), *residual.shape)  # beyond which the first values stay
    with torch.random.fork_rng([residual.device] if residual.is_cuda else []):
        torch.manual_seed(0)
        u, s, v = torch.svd_lowrank(residual, q=min(2 * rank, *residual.shape), niter=PASSES)
    roots = (s[:rank] / scaling).sqrt()
    a[:rank] = (v[:, :rank] * roots).T
    b[:, :rank] = u[:, :rank] * roots
    if "default" in layer.lora_magnitude_vector:  # of DoRA
        magnitude = layer.lora_magnitude_vector["default"].weight
        magnitude.copy_((quantized + scaling * (b @ a)).norm(dim=1))


class _Stored:
    """The weights in the safetensors files of a model's folder."""

    def __init__(self, base: "PreTrainedModel") -> None:
        self.prefix, self.files = base.base_model_prefix, dict(_tensors(Path(str(base.name_or_path))))

    def weight(self, name: str, quantized: "torch.Tensor", is_transposed: bool) -> "torch.Tensor":
        """Return the weight of the layer `name`, of which `quantized` is what a quantization left.

        Raises:
            ConfigError: the files do not have it.
        """
        from safetensors import safe_open

        prefix = f"{self.prefix}."
        names = (f"{name}.weight", f"{prefix}{name}.weight", f"{name.removeprefix(prefix)}.weight")
        if known_as := next((name for name in names if name in self.files), None):
            with safe_open(self.files[known_as], "pt") as tensors:
                weight = tensors.get_tensor(known_as).to(quantized.device).float()
            weight = weight.T if is_transposed else weight
            if weight.shape == quantized.shape and (weight - quantized).norm() < weight.norm():
                return weight
        raise ConfigError(
            f"init_weights: loftq: the files of the model do not have the weight of {name} as it was quantized: "
            "transformers changes it while it is loaded; name other --target_modules, or use another --init_weights"
        )


def _tensors(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the names of the tensors in a folder, each with its file."""
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            yield from ((name, file) for name in tensors.keys())  # noqa: SIM118 - it is no dict
