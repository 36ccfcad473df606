"""Quantized weights as they are published: what reads each method of a config.json, and how its weights can be trained
on.

Where a library offers several kernels, the one is taken whose backward pass is whole and whose weights are the same
before and after an evaluation; adapters are served on the same kernel. gptqmodel's default on a CPU is not such a one:
its first forward pass in evaluation rounds the scales to bfloat16 for good, and has no gradient from then on
(gptqmodel 7.6, `TorchAtenLinear`). Methods that transformers only runs without gradients (FP8, MXFP4), or unpacks at
the first forward pass (compressed-tensors), are unpacked while they are loaded.
"""

import shlex
import sys
from importlib.util import find_spec
from typing import Any, NamedTuple


class Requirements(NamedTuple):
    """What a method needs: `modules` that can be imported, the packages to `install` for them, an accelerator."""

    modules: tuple[str, ...] = ()
    install: tuple[str, ...] = ()
    accelerator: bool = False

    def missing(self, who: str) -> list[str]:
        """Return a sentence for each thing that is not there; `who` begins the sentence."""
        sentences = []
        if self.accelerator and not _is_accelerated():
            sentences.append(f"{who} runs on an accelerator, and this machine has none")
        if modules := [name for name in self.modules if not _is_installed(name)]:
            command = f"{sys.executable} -m pip install {' '.join(map(shlex.quote, self.install))}"
            sentences.append(f"{who} needs {' and '.join(modules)}, not installed here; install with: {command}")
        return sentences


GPTQMODEL = Requirements(("gptqmodel", "optimum.gptq"), ("gptqmodel==7.6.0", "optimum>=2.3"))
PUBLISHED = {
    "gptq": GPTQMODEL,
    "awq": GPTQMODEL,
    "compressed-tensors": Requirements(("compressed_tensors",), ("compressed-tensors>=0.20",)),
    "aqlm": Requirements(("aqlm",), ("aqlm[cpu]>=1.1.7",)),
}
"""By the `quant_method` of a config.json; methods that also quantize while loading have files of their own. Any other
method is left to transformers: bitsandbytes comes with Martlet, others may work."""


def untrainable(stored: dict[str, Any]) -> list[str]:
    """Return why nothing can be trained on weights stored with the settings `stored`, a sentence or none."""
    if stored.get("quant_method") == "aqlm" and stored.get("nbits_per_codebook") == 8 and not _is_accelerated():
        # Its kernels for a CPU turn the codes over, and the backward pass reads them as they were (aqlm 1.1.7).
        return ["model: AQLM with codebooks of 8 bits has no backward pass on a CPU; take one with 16 bits, or a GPU"]
    return []


def trainable(stored: dict[str, Any]) -> Any:
    """Return what `from_pretrained` takes as `quantization_config` to read weights stored with the settings `stored` so
    that gradients pass through them, or None where it does so by itself."""
    from transformers.utils import quantization_config as configs

    on_cpu, bits, method = not _is_accelerated(), stored.get("bits", 4), stored.get("quant_method")
    if PUBLISHED.get(str(method)) is GPTQMODEL:
        from logbar import LogBar  # type: ignore[import-not-found]

        LogBar.shared().setLevel("ERROR")  # gptqmodel tells on the screen which kernels it considers
    match method:
        case "gptq":
            return configs.GPTQConfig(bits=bits, backend="gptq_torch" if on_cpu else "auto_trainable")
        case "awq":
            return configs.AwqConfig(bits=bits, backend="torch_awq" if on_cpu else "auto_trainable")  # type: ignore[arg-type]
        case "compressed-tensors":
            return configs.CompressedTensorsConfig(dequantize=True)
        case "fp8":
            return configs.FineGrainedFP8Config(
                dequantize=True, modules_to_not_convert=stored.get("modules_to_not_convert")
            )
        case "mxfp4":
            return configs.Mxfp4Config(dequantize=True)
        case _:
            return None


def _is_accelerated() -> bool:
    import torch

    return torch.accelerator.is_available()


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None  # imports the parents of a module
    except ModuleNotFoundError:
        return False
