"""Loading a model folder with an adapter on it, strictly: for serving, evaluation and merging."""

import copy
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import export, models, tuners
from components.classes import CLASSIFIER, Classes
from components.config.groups.quantization import Quantization
from components.errors import ConfigError
from components.files import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ADAPTER = "adapter"
"""Sub-folder of a model folder with an adapter that cannot be merged, and belongs to the model."""


def load(
    model: Path,
    adapter: Path | None = None,
    torch_dtype: str | None = None,
    attn_impl: str | None = None,
    quantization: Quantization | None = None,
    external: Sequence[Path] = (),
    unpacked: bool = False,
    placement: dict[str, Any] | None = None,
) -> "tuple[Any, PreTrainedTokenizerBase]":
    """Return a model, with the adapter applied but not merged, and its tokenizer.

    Args:
        adapter: a checkpoint folder of any tuner, by default the one in the model folder itself. Its tokenizer, where
            the folder holds one, is preferred.
        torch_dtype: precision of the weights; None keeps the stored one.
        attn_impl: attention implementation; None is transformers' choice.
        quantization: of the weights while they are loaded, as the adapter was trained.
        external: the user's plugin files.
        unpacked: the weights are plain ones in `torch_dtype`, with the values that the quantization leaves of them as
            they are stored.
        placement: as `models.load_model` has it; by default all devices of the machine share the weights.

    Raises:
        ConfigError: a folder lacks its configuration, its tokenizer or its adapter.
        MartletError: a tensor of the model or of the adapter is missing, unexpected, or of another shape.
    """
    if adapter is None and (model / ADAPTER).is_dir():
        adapter = model / ADAPTER
    tokenizer = tokenizer_of(model, adapter)
    dtype = torch_dtype or export.stored_dtype(model)
    classes, headless = classes_of(adapter or model), is_embedding(adapter or model)
    load_base = partial(
        models.load_model,
        model,
        placement={"device_map": "auto"} if placement is None else placement,
        classes=classes,
        headless=headless,
        external=external,
    )
    loaded: Any = load_base(dtype, attn_impl, None if unpacked else quantization)
    if unpacked:
        tuners.take_rounding(loaded, load_base(export.stored_dtype(model), attn_impl, quantization))
    if classes:
        models.set_padding(loaded, tokenizer)
    return tuners.load(loaded, adapter, external) if adapter else loaded, tokenizer


def tokenizer_of(model: Path, adapter: Path | None) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of an adapter where its folder holds one, or else of the model.

    Raises:
        ConfigError: there is none, or one that cannot be read.
    """
    # A tokenizer of a model's own code lies beside that code.
    has_tokenizer = adapter and (adapter / "tokenizer_config.json").is_file() and not models.is_code_allowed(model)
    return models.load_tokenizer(adapter if adapter and has_tokenizer else model)


def load_beside(
    model: Path, adapters: Sequence[Path | None], external: Sequence[Path] = (), **settings: Any
) -> "tuple[list[Any], PreTrainedTokenizerBase]":
    """Return the model with each of the adapters, or without one for None, and the tokenizer that they share.

    The models share the weights of the base. `settings` and errors are those of `load`.

    Raises:
        ConfigError: the adapters were trained with different tokenizers.
    """
    if len(adapters) == 1:
        loaded, tokenizer = load(model, adapters[0], external=external, **settings)
        return [loaded], tokenizer
    tokenizers = {_tokenization(folder, model) for folder in adapters}
    if len(tokenizers) > 1:
        names = ", ".join(str(folder or model) for folder in adapters)
        raise ConfigError(f"{names}: they have different tokenizers, and cannot be served together; serve each alone")
    base, tokenizer = load(model, external=external, **settings)
    return [adapted(base, folder, external) if folder else base for folder in adapters], tokenizer


def adapted(model: Any, folder: Path, external: Sequence[Path] = ()) -> Any:
    """Return a loaded base with an adapter on it; the two share the weights of the base, which stays as it is.

    Raises:
        ConfigError: the folder holds no adapter.
        MartletError: the adapter does not fit the base.
    """
    return tuners.load(_sharing(model), folder, external)


def _sharing(model: Any) -> Any:
    """Return a copy of a model's modules around the same weights."""
    weights = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(weight): weight for weight in weights})


def _tokenization(adapter: Path | None, model: Path) -> str:
    """Return all that makes token ids of text, of the tokenizer of an adapter or of the base where the adapter's folder
    holds none. A tokenizer that is saved again is another file with the same content."""
    tokenizer: Any = models.load_tokenizer(adapter if adapter and (adapter / "tokenizer.json").is_file() else model)
    return tokenizer.backend_tokenizer.to_str() if tokenizer.is_fast else str(sorted(tokenizer.get_vocab().items()))


def classes_of(folder: Path) -> Classes | None:
    """Return the classes that the model or the adapter in a folder was trained to tell, or None."""
    saved = _arguments(folder).get("classes")
    return Classes(**saved) if saved else None


def task_of(model: Path, adapter: Path | None) -> str | None:
    """Return the task of a model that writes no text, `seq_cls` or `embedding`, or None."""
    architectures = read_json(model / "config.json").get("architectures") or [""]
    if classes_of(adapter or model) or architectures[0].endswith(CLASSIFIER):
        return "seq_cls"
    return "embedding" if is_embedding(adapter or model) else None


def is_embedding(folder: Path) -> bool:
    """Return whether the model or the adapter in a folder was trained to return vectors of texts."""
    method = _arguments(folder).get("method")
    return isinstance(method, dict) and method.get("task_type") == "embedding"


def _arguments(folder: Path) -> dict[str, Any]:
    file = folder / "args.json"
    return read_json(file) if file.is_file() else {}


def weights_identity(folder: Path) -> list[Any]:
    """Return what tells a model folder from another, and from itself after a change: its place, and the size and the
    time of each file that a model is loaded from."""
    place = folder.resolve()
    files = [file for suffix in ("safetensors", "json", "jinja") for file in sorted(place.rglob(f"*.{suffix}"))]
    stats = [(file.relative_to(place).as_posix(), file.stat()) for file in files]
    return [str(place), [[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats]]
