"""FourierFT (Gao et al. 2024, arXiv 2405.03003): a few learned coefficients of the update's Fourier transform."""

from typing import TYPE_CHECKING

from components.config import Params
from components.errors import ConfigError
from components.tuners._layers import targets
from components.tuners._peft import load, merge, restore, save, with_adapter

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

__all__ = ["LEARNING_RATE", "load", "merge", "require_fit", "restore", "save", "wrap"]

LEARNING_RATE = 3e-3
QUANTIZED_BASE = False


def wrap(model: "PreTrainedModel", params: Params, seed: int) -> "PeftModel":
    """Freeze `model` and put FourierFT on its targets. Raises as LoRA's, and as `require_fit`."""
    require_fit(model, params)
    from peft import FourierFTConfig

    fourierft = params.fourierft
    return with_adapter(
        model,
        params,
        seed,
        FourierFTConfig,
        n_frequency=fourierft.fourier_n_frequency,
        scaling=fourierft.fourier_scaling,
        random_loc_seed=seed,
    )


def require_fit(model: "PreTrainedModel", params: Params) -> None:
    """Raise ConfigError where a target has fewer weights than there are coefficients, or a name matches nothing."""
    count = params.fourierft.fourier_n_frequency
    for name in sorted(targets(model, params)):
        weights = model.get_parameter(f"{name}.weight").numel()
        if weights < count:
            raise ConfigError(
                f"fourier_n_frequency: {count} coefficients are more than the {weights} weights of {name}"
            )
