"""Full training: every weight learns, and what is saved is a whole model."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.config.groups.tuner import Tuner
from components.errors import ConfigError, MartletError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DEFAULT_LEARNING_RATE = 1e-5


def wrap(model: "PreTrainedModel", params: Tuner, seed: int) -> "PreTrainedModel":  # noqa: ARG001
    """Let every weight learn; there is nothing to initialise."""
    return model.requires_grad_(True)


def save(model: "PreTrainedModel", folder: Path, base: str | None = None) -> None:  # noqa: ARG001
    """Save configuration and weights, as safetensors."""
    model.save_pretrained(str(folder))


def load(base: "PreTrainedModel", folder: Path) -> "PreTrainedModel":
    """Return the trained model in the precision and on the device of `base`.

    Raises:
        ConfigError: the folder holds no weights.
        MartletError: the weights do not fit the class of `base` tensor by tensor.
    """
    if not any(folder.glob("model*.safetensors")):
        raise ConfigError(f"{folder}: no trained model: there is no model.safetensors")
    from safetensors import SafetensorError

    try:
        loaded: Any = type(base).from_pretrained(
            folder,
            dtype=base.dtype,
            attn_implementation=base.config._attn_implementation,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise MartletError(f"{folder}: the weights do not fit the model: {str(error).splitlines()[0]}") from error
    model, found = loaded
    wrong = sorted(str(key) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys") for key in found[kind])
    if wrong or model.num_parameters() != base.num_parameters():
        raise MartletError(f"{folder}: the weights do not fit the model: {', '.join(wrong[:3]) or 'another size'}")
    return model.to(base.device).eval()  # type: ignore[arg-type]


def merge(model: "PreTrainedModel") -> "PreTrainedModel":
    """Nothing to merge."""
    return model
