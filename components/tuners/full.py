"""Full training: every weight learns, and what is saved is a whole model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.config import Params
from components.errors import ConfigError, MartletError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LEARNING_RATE = 1e-5
QUANTIZED_BASE = False
TARGETS = False


def wrap(model: "PreTrainedModel", params: Params, seed: int) -> "PreTrainedModel":  # noqa: ARG001
    """Let every weight learn; there is nothing to initialise.

    Raises:
        ConfigError: the weights are quantized.
    """
    if params.quantization.quant_method or getattr(model, "is_quantized", False):
        raise ConfigError(
            "tuner_type: full training needs weights that are not quantized; use lora, or no quant_method"
        )
    return model.requires_grad_(True)


def save(model: "PreTrainedModel", folder: Path, base: str | None = None) -> None:  # noqa: ARG001
    """Write configuration and weights, as safetensors."""
    model.save_pretrained(str(folder))


def restore(model: "PreTrainedModel", folder: Path) -> None:
    """Read the weights of a saved model into `model`.

    Raises:
        ConfigError: the folder holds no weights.
        MartletError: the weights do not fit the model tensor by tensor.
    """
    import torch

    trained = load(model, folder)
    with torch.no_grad():
        for weight, value in zip(model.parameters(), trained.parameters(), strict=True):
            weight.copy_(value)


def load(model: "PreTrainedModel", folder: Path) -> "PreTrainedModel":
    """Return the trained model in the precision and on the device of `model`.

    Raises:
        ConfigError: the folder holds no weights.
        MartletError: the weights do not fit the class of `model` tensor by tensor.
    """
    if not any(folder.glob("model*.safetensors")):
        raise ConfigError(f"{folder}: no trained model: there is no model.safetensors")
    from safetensors import SafetensorError

    try:
        loaded: Any = type(model).from_pretrained(
            folder,
            dtype=model.dtype,
            attn_implementation=model.config._attn_implementation,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise MartletError(f"{folder}: the weights do not fit the model: {str(error).splitlines()[0]}") from error
    trained, report = loaded
    wrong = sorted(str(key) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in report[kind])
    if wrong or trained.num_parameters() != model.num_parameters():
        raise MartletError(f"{folder}: the weights do not fit the model: {', '.join(wrong[:3]) or 'another size'}")
    return trained.to(model.device).eval()


def merge(model: "PreTrainedModel") -> "PreTrainedModel":
    """Return `model`: there is nothing to merge."""
    return model
