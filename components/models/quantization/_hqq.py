"""HQQ as a quantizer of transformers, whose own does not run (transformers 5.23: "hqq is not available yet"; this file
goes when it does)."""

from dataclasses import dataclass, field
from typing import Any

import torch
from hqq.core.quantize import BaseQuantizeConfig, HQQLinear  # type: ignore[import-not-found]
from transformers import PreTrainedModel
from transformers.quantizers import HfQuantizer, register_quantization_config, register_quantizer
from transformers.quantizers.quantizers_utils import should_convert_module
from transformers.utils.quantization_config import QuantizationConfigMixin

from components.errors import ConfigError

NAME = "hqq_layers"
"""Under which transformers knows this quantizer; `hqq` is its own."""


@register_quantization_config(NAME)
@dataclass
class Config(QuantizationConfigMixin):
    """Bits, numbers in a group, the dimension along which they are grouped, the precision of the computations, and what
    stays as it is."""

    bits: int
    group_size: int
    axis: int
    dtype: str
    modules_to_not_convert: list[str] | None = None
    quant_method: Any = field(default=NAME, init=False)


@register_quantizer(NAME)
class Quantizer(HfQuantizer):
    """Replaces linear layers by HQQ's after their weights are loaded, one at a time."""

    quantization_config: Any
    requires_calibration = False

    def _process_model_after_weight_loading(self, model: PreTrainedModel, **_: Any) -> None:  # type: ignore[override]
        config = self.quantization_config
        settings = BaseQuantizeConfig(nbits=config.bits, group_size=config.group_size, axis=config.axis)
        head = model.get_output_embeddings()
        layers = {
            name: module
            for name, module in model.named_modules()
            if isinstance(module, torch.nn.Linear)
            and module is not head
            and should_convert_module(name, config.modules_to_not_convert)
        }
        for name, layer in layers.items():
            if layer.weight.numel() % config.group_size:
                raise ConfigError(
                    f"hqq_group_size: {config.group_size} does not divide the {layer.weight.numel()} weights of {name}"
                )
            device = str(layer.weight.device)
            quantized = HQQLinear(layer, settings, compute_dtype=getattr(torch, config.dtype), device=device)
            model.set_submodule(name, quantized)

    def is_serializable(self) -> bool:  # type: ignore[override]
        return False

    @property
    def is_trainable(self) -> bool:  # type: ignore[override]
        return True
