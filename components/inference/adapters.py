"""Whether a LoRA adapter fits its base: names and shapes of its tensors, from the headers of the files.

vLLM 0.32 serves an adapter none of whose tensors has a place in the model: the base answers in its name.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.errors import ConfigError, MartletError
from components.files import read_json

_TENSOR = re.compile(r"base_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight")
_PACKED = (".qweight", ".weight_packed", ".W_q")
"""Ends of the names under which GPTQ, AWQ, compressed tensors and HQQ keep the weight of a module."""
_PLAIN_TYPES = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2", "I8")
"""Types whose tensors have the shape of the module's weight; nf4 packs two numbers into a byte (U8)."""
Shape = tuple[int, ...]


def require_fit(model: Path, adapter: Path) -> int:
    """Return the highest rank of a LoRA adapter, each of whose tensors belongs to a module of the model.

    Args:
        model: folder with the base's safetensors; packed weights are compared by name alone.
        adapter: folder in peft's layout.

    Raises:
        ConfigError: the adapter is not a plain LoRA, which is all that the engines apply.
        MartletError: a tensor has no module in the model, another shape than its module, or no counterpart.
    """
    _require_plain_lora(adapter)
    shapes = _module_shapes(model)
    sides: dict[str, dict[str, Shape]] = {}
    for name, shape, _ in _headers(adapter, "adapter_model*.safetensors"):
        parts = _TENSOR.fullmatch(name)
        if not parts or parts["module"] not in shapes:
            raise _misfit(adapter, name, f"has no place in {model}")
        sides.setdefault(parts["module"], {})[parts["side"]] = shape
    if not sides:
        raise MartletError(f"{adapter}: the adapter holds no tensors; export it anew")
    return max(_rank(adapter, module, pair, shapes[module]) for module, pair in sides.items())


def is_zero(adapter: Path) -> bool:
    """Return whether an adapter changes nothing: one side of every pair is zero, as before the first step."""
    from safetensors import safe_open

    with safe_open(adapter / "adapter_model.safetensors", "pt") as tensors:
        return not any(bool(tensors.get_tensor(name).any()) for name in tensors.keys() if ".lora_B." in name)  # noqa: SIM118


def _require_plain_lora(adapter: Path) -> None:
    file = adapter / "adapter_config.json"
    if not file.is_file():
        raise ConfigError(f"{adapter}: not an adapter folder: there is no adapter_config.json")
    config = read_json(file)
    kind = str(config.get("peft_type"))
    extras = [name for name in ("use_dora", "modules_to_save", "lora_bias") if config.get(name)]
    if kind != "LORA" or extras or config.get("bias", "none") != "none":
        what = "bias" if kind == "LORA" and not extras else " with ".join([kind, *extras])
        raise ConfigError(f"{adapter}: this engine applies plain LoRA, not {what}; merge it with --merge_lora true")


def _module_shapes(model: Path) -> dict[str, Shape | None]:
    """Return the shape [out, in] of each module's weight, or None where the weight is packed."""
    shapes: dict[str, Shape | None] = {}
    for name, shape, kind in _headers(model, "model*.safetensors"):
        if name.endswith(".weight"):
            shapes[name.removesuffix(".weight")] = shape if kind in _PLAIN_TYPES else None
        elif packed := next((end for end in _PACKED if name.endswith(end)), None):
            shapes[name.removesuffix(packed)] = None
    return shapes


def _headers(folder: Path, pattern: str) -> Iterator[tuple[str, Shape, str]]:
    """Yield name, shape and type of every tensor in the files of a folder.

    Raises:
        MartletError: there is no such file, or one is damaged.
    """
    from safetensors import SafetensorError, safe_open

    files = sorted(folder.glob(pattern))
    if not files:
        raise MartletError(f"{folder}: there is no {pattern.replace('*', '')}")
    for file in files:
        try:
            with safe_open(file, "numpy") as tensors:
                for name in tensors.keys():  # noqa: SIM118
                    part: Any = tensors.get_slice(name)
                    yield name, tuple(part.get_shape()), part.get_dtype()
        except SafetensorError as error:
            raise MartletError(f"{file} cannot be read: {error}; was the file copied whole?") from error


def _rank(adapter: Path, module: str, pair: dict[str, Shape], weight: Shape | None) -> int:
    """Return the rank of the pair A [rank, in], B [out, rank] of one module."""
    for side in "AB":
        if side not in pair:
            raise _misfit(adapter, _name(module, side), "is missing")
    (rank, inputs), (outputs, other_rank) = pair["A"], pair["B"]
    if rank != other_rank:
        raise _misfit(adapter, _name(module, "B"), f"has rank {other_rank}, and lora_A has {rank}")
    if weight and (outputs, inputs) != weight:
        shapes = f"is for a matrix of {outputs} x {inputs}, and the model's is {weight[0]} x {weight[1]}"
        raise _misfit(adapter, _name(module, "A"), shapes)
    return rank


def _name(module: str, side: str) -> str:
    return f"base_model.model.{module}.lora_{side}.weight"


def _misfit(adapter: Path, tensor: str, problem: str) -> MartletError:
    return MartletError(
        f"{adapter}: the adapter does not fit the model: {tensor} {problem}. Use the base model that its"
        " adapter_config.json names"
    )
