"""Tuners: which weights of a model are trained, and how they are saved. One file each, named by `--tuner_type`.

    method = TUNERS.load("lora")                       # components/tuners/lora.py
    model = method.wrap(model, params, seed=42)
    method.save(model, folder)
    merged = method.merge(load(base, folder))

What peft offers goes through `_peft.py`, which checks that peft did what it was asked.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from components.config import Params
from components.errors import ConfigError
from components.files import read_json
from components.plugins import Kind

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = [
    "TUNERS",
    "Tuner",
    "load",
    "makes_up_for_quantization",
    "quantized_problems",
    "require_layers",
    "require_plain",
    "take_rounding",
    "tuner_of",
]


class Tuner(Protocol):
    """What the file of a tuner defines. It may also declare, by constants:

    - `MERGES = False`: what was trained cannot be added to the weights, and is served on its base;
    - `QUANTIZED_BASE = False`: it cannot train on quantized weights;
    - `UNFIT_BASES = ("gptq",)`: it cannot train on weights quantized by these methods (bnb-int8 is bnb with 8 bits);
    - `TARGETS = False`: it does not read `target_modules`;
    - `TEXT_ONLY = True`: it does not train a model that returns classes or vectors;
    - `EXCLUDES = ("packing",)`: parameters that may not be set with it.

    Where a step is more than the optimizer's, `step(model, number, steps)` is called after each, while the gradients
    are there, and what `penalty(model)` returns is added to the loss of each.

    Where its first values, or even its shapes, depend on the data, `initialise(model, rows)` is called once, when a run
    begins, with a sample of its rows: mappings of `input_ids` and `labels`, arrays of equal lengths. A run that goes on
    from a checkpoint calls `restore` instead, before any other step, which then sets the shapes too.

    Where its parameters do not fit every model, `require_fit(model, params)` raises ConfigError for what does not fit;
    the model may be one without weights, so that a run is refused before it begins.
    """

    LEARNING_RATE: float
    """The peak learning rate where none is given."""

    def wrap(self, model: "PreTrainedModel", params: Params, seed: int) -> Any:
        """Return `model` with the weights that are to learn; equal seeds give equal weights.

        Raises ConfigError where the parameters name layers that the model does not have.
        """
        ...

    def save(self, model: Any, folder: Path, base: str | None = None) -> None:
        """Write what was trained into `folder`; `base` is the name of the base model to record."""
        ...

    def restore(self, model: Any, folder: Path) -> None:
        """Read what `save` wrote back into a wrapped model, every tensor into its place.

        Raises MartletError where a tensor is missing, is one too many, or has another shape.
        """
        ...

    def load(self, model: "PreTrainedModel", folder: Path) -> Any:
        """Return the base `model` with what `save` wrote, ready to answer.

        Raises ConfigError where nothing of this tuner is in `folder`, MartletError as `restore` does.
        """
        ...

    def merge(self, model: Any) -> "PreTrainedModel":
        """Return a plain model with what was trained in its weights. Raises MartletError with the reason why not."""
        ...


TUNERS = Kind("tuner", "tuner_type", __name__, Tuner)


def quantized_problems(tuner: str, method: str | None, external: Sequence[Path] = ()) -> list[str]:
    """Return why a tuner cannot train on weights quantized by `method` (None: not quantized), a sentence or none."""
    if not method:
        return []
    unfit: tuple[str, ...] = TUNERS.constant(tuner, "UNFIT_BASES", (), external)
    if TUNERS.constant(tuner, "QUANTIZED_BASE", True, external) and method not in unfit:
        return []
    if unfit:
        return [f"tuner_type: {tuner} does not train on weights quantized by {method}; use lora"]
    return [f"tuner_type: {tuner} needs weights that are not quantized, and these are by {method}; use lora"]


def require_layers(model: "PreTrainedModel", params: Params) -> None:
    """Check that the model has every layer that `target_modules` and `modules_to_save` name.

    Raises:
        ConfigError: a name matches no layer.
    """
    from components.tuners import _peft

    _peft.targets(model, params)


def require_plain(model: "PreTrainedModel", params: Params) -> None:
    """Check that `modules_to_save` names no layer that a quantization of the `model`'s weights changes: a layer that is
    trained in full keeps its numbers.

    Raises:
        ConfigError: a layer is linear, and not the output head; or a name matches no layer.
    """
    from components.tuners._layers import quantized_layers

    if layers := quantized_layers(model, params):
        raise ConfigError(
            f"modules_to_save: {layers[0]} is quantized, so it cannot be trained in full; name it in --target_modules, "
            "or leave --quant_method out"
        )


def makes_up_for_quantization(tuner: str, first_values: str) -> bool:
    """Return whether an adapter began with what a quantization took from the weights, so that it belongs on weights
    that are quantized in the same way."""
    return tuner in ("lora", "dora") and first_values == "loftq"


def take_rounding(plain: "PreTrainedModel", quantized: "PreTrainedModel") -> None:
    """Set the weights of `plain` to what a quantization left of them in `quantized`, a model of the same base."""
    from components.tuners import _loftq

    _loftq.take_rounding(plain, quantized)


def tuner_of(folder: Path, external: Sequence[Path] = ()) -> Tuner:
    """Return the tuner that wrote `folder`: as its args.json says, else peft for an adapter and full for weights.

    Raises:
        ConfigError: the folder holds nothing that was trained.
    """
    if (folder / "args.json").is_file():
        saved = read_json(folder / "args.json").get("tuner", {})
        return TUNERS.load(saved.get("tuner_type") or saved.get("train_type") or "lora", external)
    if (folder / "adapter_config.json").is_file():
        return TUNERS.load("lora", external)
    if any(folder.glob("model*.safetensors")):
        return TUNERS.load("full", external)
    raise ConfigError(
        f"{folder}: no adapter and no trained model there; give a checkpoint folder (adapter_config.json or "
        "model.safetensors)"
    )


def load(model: "PreTrainedModel", folder: Path, external: Sequence[Path] = ()) -> Any:
    """Return the base `model` with what was trained and saved in `folder`, ready to answer.

    Raises:
        ConfigError: nothing that was trained is in `folder`.
        MartletError: it does not fit the model tensor by tensor.
    """
    return tuner_of(folder, external).load(model, folder)
