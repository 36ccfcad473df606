"""Folders of quantized weights as they are published, packed here by their formats from a tiny model."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

Tensors = dict[str, torch.Tensor]
GROUP = 32
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of eight numbers each four bits of an integer hold, in AWQ's format GEMM."""


def packed(numbers: torch.Tensor, order: tuple[int, ...] = tuple(range(8))) -> torch.Tensor:
    """Return eight numbers of the last dimension in each integer, the first of `order` in the lowest bits."""
    eights = numbers.reshape(*numbers.shape[:-1], -1, 8).long()[..., list(order)]
    whole = sum((eights[..., i] << (4 * i) for i in range(8)), torch.zeros_like(eights[..., 0]))
    return whole.to(torch.uint32).view(torch.int32).contiguous()


def rounded(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return a weight [out, in] as integers [in, out], with zero points and scales [groups, out]."""
    groups = weight.t().reshape(-1, GROUP, weight.shape[0])
    low, high = groups.amin(1), groups.amax(1)
    scales = ((high - low) / 15).half()
    zeros = (-low / scales).round().clamp(1, 15)
    integers = ((groups / scales[:, None]).round() + zeros[:, None]).clamp(0, 15)
    return integers.reshape(weight.shape[1], -1).int(), zeros.int(), scales


def gptq(weight: torch.Tensor) -> Tensors:
    integers, zeros, scales = rounded(weight)
    groups = torch.arange(len(integers), dtype=torch.int32) // GROUP
    return {"qweight": packed(integers.t()).t(), "qzeros": packed(zeros - 1), "scales": scales, "g_idx": groups}


def awq(weight: torch.Tensor) -> Tensors:
    integers, zeros, scales = rounded(weight)
    return {"qweight": packed(integers, AWQ_ORDER), "qzeros": packed(zeros, AWQ_ORDER), "scales": scales}


def compressed(weight: torch.Tensor) -> Tensors:
    groups = weight.reshape(len(weight), -1, GROUP)
    scales = groups.abs().amax(-1) / 7.5
    integers = (groups / scales[..., None]).round().clamp(-8, 7).reshape(weight.shape).int() + 8
    return {"weight_packed": packed(integers), "weight_scale": scales, "weight_shape": torch.tensor(weight.shape)}


def fp8(weight: torch.Tensor) -> Tensors:
    blocks = weight.reshape(len(weight) // GROUP, GROUP, -1, GROUP)
    scales = blocks.abs().amax((1, 3)) / 448
    return {
        "weight": (blocks / scales[:, None, :, None]).reshape(weight.shape).to(torch.float8_e4m3fn),
        "weight_scale_inv": scales,
    }


def aqlm(weight: torch.Tensor) -> Tensors:
    """Codebooks of random numbers: to find good ones is the method's art."""
    random = torch.Generator().manual_seed(weight.numel())
    shape = (len(weight), weight.shape[1] // 8, 1)
    return {
        "codes": torch.randint(-(2**15), 2**15, shape, generator=random, dtype=torch.int16),
        "codebooks": torch.randn(1, 2**16, 1, 8, generator=random) * weight.std(),
        "scales": torch.ones(len(weight), 1, 1, 1),
    }


FOUR_BITS = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": GROUP}
FORMATS: dict[str, tuple[Callable[[torch.Tensor], Tensors], dict[str, Any]]] = {
    "gptq": (gptq, {"bits": 4, "group_size": GROUP, "sym": False, "desc_act": False, "checkpoint_format": "gptq"}),
    "awq": (awq, {"bits": 4, "group_size": GROUP, "zero_point": True, "version": "gemm"}),
    "compressed-tensors": (
        compressed,
        {
            "format": "pack-quantized",
            "quantization_status": "compressed",
            "ignore": ["lm_head"],
            "config_groups": {"group_0": {"targets": ["Linear"], "weights": FOUR_BITS}},
        },
    ),
    "fp8": (fp8, {"activation_scheme": "dynamic", "weight_block_size": [GROUP, GROUP]}),
    "aqlm": (
        aqlm,
        {
            "in_group_size": 8, "out_group_size": 1, "num_codebooks": 1, "nbits_per_codebook": 16,
            "linear_weights_not_to_quantize": ["lm_head", "model.embed_tokens", "model.norm"],
        },
    ),
}  # fmt: skip
"""By the method: what a weight becomes, and the settings in config.json."""


def published(base: Path, folder: Path, method: str) -> Path:
    """Write `base` into `folder` with the linear layers of its blocks quantized by `method`; return `folder`."""
    shutil.copytree(base, folder)
    pack, settings = FORMATS[method]
    weights = load_file(folder / "model.safetensors")
    for name in [name for name in weights if name.endswith("_proj.weight")]:
        for part, tensor in pack(weights.pop(name)).items():
            weights[name.removesuffix("weight") + part] = tensor.contiguous()
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": method, **settings}
    (folder / "config.json").write_text(json.dumps(config))
    return folder
