"""The two files of an adapter folder, read strictly."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import ConfigError, MartletError

if TYPE_CHECKING:
    import torch

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def require_files(folder: Path) -> None:
    """Raise ConfigError if a folder lacks one of an adapter's files."""
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise ConfigError(f"{folder}: not an adapter folder: there is no {name}")


def read_weights(folder: Path, expected: "Mapping[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """Return the tensors of a saved adapter, which have the names and shapes of `expected`.

    Raises:
        ConfigError: the folder holds no adapter.
        MartletError: the file is damaged; a tensor is missing, one too many, of another shape, or not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    require_files(folder)
    try:
        weights = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise MartletError(
            f"{folder / WEIGHTS} cannot be read: {error}; was the file copied whole? Take another checkpoint"
        ) from error
    _require_fit(folder, expected, weights)
    if broken := [name for name, weight in weights.items() if not is_finite(weight)]:
        raise MartletError(f"{folder / WEIGHTS}: the tensor {broken[0]} holds integers, NaN or infinity")
    return weights


def is_finite(weight: Any) -> bool:
    """Return whether a tensor holds finite floating-point numbers alone."""
    import torch

    return weight.is_floating_point() and bool(torch.isfinite(weight).all())


def _require_fit(folder: Path, expected: Mapping[str, Any], weights: dict[str, Any]) -> None:
    shapes = [name for name in expected if name in weights and expected[name].shape != weights[name].shape]
    problems = [
        f"{len(names)} {what} ({names[0]})"
        for what, names in (
            ("missing", sorted(expected.keys() - weights.keys())),
            ("unexpected", sorted(weights.keys() - expected.keys())),
            ("of another shape", shapes),
        )
        if names
    ]
    if problems:
        raise MartletError(
            f"{folder}: the adapter does not fit the model; of its tensors {', '.join(problems)}. Load it on the base "
            "model that its adapter_config.json names"
        )
