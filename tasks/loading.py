"""Loading a model folder with an adapter on it, strictly: for serving, evaluation and merging."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import export, models, tuners
from components.files import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load(
    model: Path, adapter: Path | None = None, torch_dtype: str | None = None, attn_impl: str | None = None
) -> "tuple[Any, PreTrainedTokenizerBase]":
    """Return a model, with the adapter applied but not merged, and its tokenizer.

    Args:
        adapter: a checkpoint folder of any tuner. Its tokenizer, where the folder holds one, is preferred.
        torch_dtype: precision of the weights; None keeps the stored one.
        attn_impl: attention implementation; None is transformers' choice.

    Raises:
        ConfigError: a folder lacks its configuration, its tokenizer or its adapter.
        MartletError: a tensor of the model or of the adapter is missing, unexpected, or of another shape.
    """
    has_own_tokenizer = adapter and (adapter / "tokenizer_config.json").is_file()
    tokenizer = models.load_tokenizer(adapter if adapter and has_own_tokenizer else model)
    loaded: Any = models.load_model(model, torch_dtype or export.stored_dtype(model), attn_impl)
    return tuner_of(adapter).load(loaded, adapter) if adapter else loaded, tokenizer


def tuner_of(adapter: Path) -> Any:
    """Return the tuner that wrote an adapter folder."""
    return tuners.tuner(read_json(adapter / "args.json")["tuner"]["train_type"])
