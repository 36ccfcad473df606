"""Quantized bases: as they are published (`_published.py`), or quantized while they are loaded, by a method each of
which is a file here, named by `--quant_method` (bnb, hqq, …).

An adapter that was trained on a base quantized while it was loaded is merged into the weights as they are stored, which
are not quantized; the stage `merge` says how far the two bases are apart. What was trained on a published quantized
base stays an adapter.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from components.config.groups.quantization import Quantization
from components.errors import ConfigError
from components.models.quantization._published import PUBLISHED, Requirements, trainable, untrainable
from components.plugins import Kind

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


__all__ = [
    "PUBLISHED",
    "QUANTIZATIONS",
    "QuantizationMethod",
    "keep_precision",
    "label",
    "loading_problems",
    "method_of",
    "options",
    "prepared",
    "problems",
    "untrainable",
]


class QuantizationMethod(Protocol):
    """What the file of a quantization method defines. It may also declare, by constants:

    - `BITS = (4, 8)`: what `quant_bits` may be;
    - `MODULES = ("hqq",)` and `INSTALL = ("hqq",)`: the modules that it imports, and the packages that bring them;
    - `ACCELERATOR = True`: it needs one.
    """

    def config(self, params: Quantization, dtype: "torch.dtype") -> Any:
        """Return what `from_pretrained` takes as `quantization_config`; `dtype` is the precision of the run."""
        ...

    def prepare(self, model: "PreTrainedModel") -> "PreTrainedModel":
        """Return the loaded model, ready for an adapter to be trained on it."""
        ...


QUANTIZATIONS = Kind("quantization method", "quant_method", __name__, QuantizationMethod)


def problems(stored: dict[str, Any] | None, params: Quantization, external: Sequence[Path] = ()) -> list[str]:
    """Return why a base cannot be loaded, a sentence each.

    Args:
        stored: the `quantization_config` of the base's config.json, or None if its weights are plain.
        external: the user's plugin files.
    """
    name, source = params.quant_method, method_of(stored)
    if stored and name:
        return [f"quant_method: the weights are quantized already, by {source}; leave --quant_method out"]
    if source == "hqq":
        return [
            "model: transformers does not read weights quantized by hqq; take the plain model and --quant_method hqq"
        ]
    if stored:
        is_ours = source in QUANTIZATIONS.names()
        needs = requirements(source) if is_ours else PUBLISHED.get(source, Requirements())
        return needs.missing(f"model: a base quantized by {source}")
    if not name:
        return []
    sentences = []
    if (bits := QUANTIZATIONS.constant(name, "BITS", None, external)) and params.quant_bits not in bits:
        sentences.append(
            f"quant_bits: {name} has {' or '.join(map(str, bits))} bits, not {params.quant_bits}; add --quant_bits "
            f"{bits[-1]}"
        )
    return sentences + requirements(name, external).missing(f"quant_method: {name}")


def loading_problems(stored: str, who: str) -> list[str]:
    """Return which packages are not installed that read weights quantized by the method `stored`, in a sentence that
    begins with `who`."""
    return PUBLISHED.get(stored, Requirements()).missing(who)


def requirements(name: str, external: Sequence[Path] = ()) -> Requirements:
    """Return what a method that quantizes while it loads needs, as its file declares it."""
    constants = (("MODULES", ()), ("INSTALL", ()), ("ACCELERATOR", False))
    return Requirements(*(QUANTIZATIONS.constant(name, key, default, external) for key, default in constants))


def method_of(stored: dict[str, Any] | None) -> str:
    """Return the name of the method in a `quantization_config`, or an empty string if there is none."""
    if not stored:
        return ""
    is_bitsandbytes = stored.get("load_in_4bit") or stored.get("load_in_8bit")
    return str(stored.get("quant_method", "bitsandbytes" if is_bitsandbytes else "unknown"))


def label(stored: dict[str, Any] | None, params: Quantization) -> str | None:
    """Return the name of a base's quantization in the tuners' `UNFIT_BASES` (gptq, bnb, bnb-int8, …), or None."""
    name = params.quant_method or method_of(stored)
    if name not in ("bnb", "bitsandbytes"):
        return name or None
    return "bnb-int8" if (stored.get("load_in_8bit") if stored else params.quant_bits == 8) else "bnb"


def options(
    stored: dict[str, Any] | None, params: Quantization, dtype: "torch.dtype", external: Sequence[Path] = ()
) -> dict[str, Any]:
    """Return what `from_pretrained` is told about the quantization of a base; the arguments are those of `problems`.

    Raises:
        ConfigError: the base cannot be loaded so, or a package is not installed.
    """
    if sentences := problems(stored, params, external):
        raise ConfigError("\n".join(sentences))
    if stored:
        config = trainable(stored)
    elif params.quant_method:
        config = QUANTIZATIONS.load(params.quant_method, external).config(params, dtype)
    else:
        config = None
    return {"quantization_config": config} if config else {}


def prepared(model: "PreTrainedModel", params: Quantization, external: Sequence[Path] = ()) -> "PreTrainedModel":
    """Return a quantized model made ready for an adapter to be trained on it; any other model as it is."""
    name = params.quant_method or ("bnb" if getattr(model, "quantization_method", None) == "bitsandbytes" else None)
    return QUANTIZATIONS.load(name, external).prepare(model) if name else model


def keep_precision(model: "PreTrainedModel") -> None:
    """Keep bitsandbytes from packing 4-bit weights on a CPU with AVX512-BF16.

    Its first forward pass in evaluation rounds their scales to bfloat16 for good (bitsandbytes 0.50, `Linear4bit`),
    so that a run with an evaluation would learn otherwise than one without. Goes when packing leaves the weights alone.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]
