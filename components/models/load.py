"""Loading tokenizers and models, strictly: safetensors, code only where it is allowed, every tensor in its place."""

import threading
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.classes import CLASSIFIER, HEAD, REGRESSION, Classes
from components.config.groups.quantization import Quantization
from components.errors import ConfigError, MartletError
from components.files import read_json
from components.models import code
from components.models.classifier import multimodal_classifier
from components.models.code import AUTO_CLASS
from components.models.quantization import keep_precision, label, method_of, options
from components.sharded import own_part
from components.tokens import pad_token_id
from components.towers import leave_plain

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


LANGUAGE_MODELS = {
    "Qwen2_5OmniForConditionalGeneration": "Qwen2_5OmniThinkerForConditionalGeneration",
    "Qwen3OmniMoeForConditionalGeneration": "Qwen3OmniMoeThinkerForConditionalGeneration",
}
"""Architectures with parts that speak, which have no loss, to the class of the part that reads and writes: it loads
from a folder of the whole."""
PRELOAD = "preload"
"""Name of a thread that imports transformers in the background."""


def load_tokenizer(folder: Path) -> "PreTrainedTokenizerBase":
    """Load the tokenizer of a model folder, with its chat template.

    Raises:
        ConfigError: the folder holds no tokenizer, or one that cannot be read.
    """
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")):
        raise ConfigError(f"{folder}: no tokenizer (tokenizer.json, tokenizer_config.json or tokenizer.model)")
    _wait_for_preload()
    # Which class a folder needs is a long table with many exceptions. It is kept in AutoTokenizer, and importing that
    # costs nothing where a model is loaded as well.
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=code.is_allowed(folder))
    except Exception as error:
        why = code.REFUSAL if "custom code" in str(error) else _first_line(error)
        raise ConfigError(f"{folder}: the tokenizer cannot be read: {why}") from error


def load_model(
    folder: Path,
    torch_dtype: str | None = None,
    attn_impl: str | None = None,
    quantization: Quantization | None = None,
    external: Sequence[Path] = (),
    placement: dict[str, Any] | None = None,
    classes: Classes | None = None,
    headless: bool = False,
) -> "PreTrainedModel":
    """Load a model onto the best device there is, strictly: every tensor of the files has its place, and every place
    its tensor.

    Args:
        torch_dtype: precision of the weights, by default the machine's (`native_dtype`); `auto` is the stored one.
        quantization: with a `quant_method`, the linear layers are quantized while they are loaded. A folder of
            quantized weights is loaded as gradients can pass through it.
        external: the user's plugin files.
        placement: keyword arguments of `from_pretrained` that say on which devices the weights lie, such as
            `device_map`; by default all on this process's.
        classes: put a classifier's head on the model, with values from torch's generator unless the folder has one
            for the same classes in the same order.
        headless: leave out the head that writes text: the model returns hidden states.

    Raises:
        ConfigError: no config.json, an architecture that transformers does not have, an unknown attention, or a
            quantization that is not possible so, as `quantization.problems` says.
        MartletError: no safetensors weights, or weights that do not fit the architecture tensor by tensor.
    """
    _wait_for_preload()
    model_class = _task_class(folder, classes is not None, headless)
    has_other_head = classes is not None and (own := classes_in(folder)) is not None and not _same_head(own, classes)
    if not any(folder.glob("*.safetensors")):
        raise MartletError(f"{folder}: no weights in safetensors format, and pickled weights are never loaded")
    import torch
    from safetensors import SafetensorError
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    dtype = _dtype(folder, torch_dtype)
    stored = _config(folder).get("quantization_config")
    quantized = options(stored, quantization or Quantization(), dtype, external)
    if quantized and not stored:
        leave_plain(quantized["quantization_config"], model_class, folder)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "You passed `quantization_config`")  # it says how stored weights are read
            model, report = model_class.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation=attn_impl,
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=model_class.__name__ == AUTO_CLASS and code.is_allowed(folder),
                output_loading_info=True,
                ignore_mismatched_sizes=has_other_head,
                **_placed(placement or {}),
                **quantized,
                **(classes.config() if classes else {}),
            )
    except (ImportError, ValueError, AssertionError) as error:
        raise ConfigError(f"{folder}: {_first_line(error)}") from error
    except (OSError, RuntimeError, KeyError, SafetensorError) as error:
        raise MartletError(f"{folder}: the weights cannot be loaded: {_first_line(error)}") from error
    _check_fit(folder, _without_heads(report) if classes or headless else report)
    if has_other_head:
        head, std = getattr(model, HEAD), getattr(model.config.get_text_config(), "initializer_range", 0.02)
        torch.nn.init.normal_(head.weight, std=std)
    if not stored:
        _check_values(folder, model)
    keep_precision(model)
    return model


def set_padding(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> None:
    """Name the token that a classifier leaves out when it looks for the last token of a text."""
    model.config.get_text_config().pad_token_id = pad_token_id(tokenizer)


def classes_in(folder: Path) -> Classes | None:
    """Return the classes that the head of a folder's model tells, as its config.json says; None for another model.

    Raises:
        ConfigError: there is no config.json, or it is not a JSON object.
    """
    if not str((_config(folder).get("architectures") or [""])[0]).endswith(CLASSIFIER):
        return None
    return Classes.of(_task_class(folder, True, False).config_class.from_pretrained(folder, local_files_only=True))


def _same_head(one: Classes, other: Classes) -> bool:
    if REGRESSION in (one.problem_type, other.problem_type):
        return one.problem_type == other.problem_type
    return one.names == other.names


def skeleton(
    folder: Path,
    torch_dtype: str | None = None,
    attn_impl: str | None = None,
    task_type: str = "causal_lm",
    classes: Classes | None = None,
) -> "PreTrainedModel":
    """Return a folder's model without its weights, to look at its layers: that of a `task_type`; the other arguments
    are those of `load_model`.

    Raises:
        ConfigError: no config.json, or one of which transformers makes no model.
    """
    model_class = _task_class(folder, task_type == "seq_cls", task_type == "embedding")
    import torch

    try:
        settings = classes.config() if classes else {}
        config = model_class.config_class.from_pretrained(folder, local_files_only=True, **settings)
        config._attn_implementation = attn_impl
        with torch.device("meta"):
            return model_class(config).to(_dtype(folder, torch_dtype))
    except Exception as error:
        raise ConfigError(f"{folder}: {_first_line(error)}") from error


def _check_values(folder: Path, model: "PreTrainedModel") -> None:
    """Raise if a weight is stored as integers, which would be cast in silence, or holds a value that is no number."""
    import torch
    from safetensors import safe_open

    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as tensors:
            for name in tensors.keys():  # noqa: SIM118 - it is no dict
                if name.endswith(("weight", "bias")) and not tensors.get_slice(name).get_dtype().startswith(
                    ("F", "BF")
                ):
                    raise MartletError(f"{file}: the weight {name} is stored as integers; take the original file")
    for name, weight in model.named_parameters():
        values = own_part(weight).data
        is_plain = type(values) is torch.Tensor and values.is_floating_point() and not values.is_meta
        if is_plain and not torch.isfinite(values).all():
            raise MartletError(f"{folder}: the weight {name} holds NaN or infinity; take an intact copy of the model")


def stored_quantization(folder: Path) -> str | None:
    """Return the method that a folder's weights are quantized with, as its config.json says, or None.

    Raises:
        ConfigError: there is no config.json, or it is not a JSON object.
    """
    return method_of(_config(folder).get("quantization_config")) or None


def quantization_label(folder: Path, params: Quantization) -> str | None:
    """Return what a folder's weights are quantized by once they are loaded, as `quantization.label` names it.

    Raises:
        ConfigError: there is no config.json, or it is not a JSON object.
    """
    return label(_config(folder).get("quantization_config"), params)


def context_length(folder: Path) -> int | None:
    """Return the most tokens that a folder's model was made for, as its config.json says, or None.

    Raises:
        ConfigError: there is no config.json, or it is not a JSON object.
    """
    config = _config(folder)
    return (config.get("text_config") or config).get("max_position_embeddings")


def _placed(placement: dict[str, Any]) -> dict[str, Any]:
    """Return the placement that is given, or all on this process's device where there is nothing to spread over."""
    import torch

    is_spread = placement.get("device_map") == "auto" and not placement.get("max_memory")
    if not placement or (is_spread and (not torch.accelerator.is_available() or torch.accelerator.device_count() < 2)):
        return {"device_map": _device()}
    return placement


def _device() -> "torch.device | None":
    """Return the accelerator, numbered as the current process's, or None for the CPU."""
    import torch

    kind = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    return torch.device(kind.type, torch.accelerator.current_device_index()) if kind else None


def _dtype(folder: Path, torch_dtype: str | None) -> "torch.dtype":
    import torch

    if torch_dtype == "auto":
        config = read_json(folder / "config.json")
        torch_dtype = config.get("dtype") or config.get("torch_dtype") or "float32"
    return getattr(torch, torch_dtype or native_dtype())


def native_dtype() -> str:
    """Return the precision that this machine trains fastest in: bfloat16 on an accelerator that computes in it, float16
    on another (T4, V100), float32 on a CPU."""
    import torch
    from transformers.utils.import_utils import is_torch_bf16_gpu_available

    if not torch.accelerator.is_available():
        return "float32"
    if torch.cuda.is_available():  # older GPUs emulate bfloat16, which transformers counts
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "bfloat16" if is_torch_bf16_gpu_available() else "float16"


def _wait_for_preload() -> None:
    """While one thread imports transformers, another finds its lazy modules half empty."""
    for thread in threading.enumerate():
        if thread.name == PRELOAD:
            thread.join()


def _config(folder: Path) -> dict[str, Any]:
    try:
        config = read_json(folder / "config.json")
    except FileNotFoundError:
        raise ConfigError(f"{folder}: not a model folder: there is no config.json") from None
    except ValueError as error:
        raise ConfigError(f"{folder / 'config.json'}: not a model's configuration: {error}") from None
    if not isinstance(config, dict):
        raise ConfigError(f"{folder / 'config.json'}: not a model's configuration: no JSON object")
    return config


def _model_class(folder: Path) -> Any:
    config = _config(folder)
    name = (config.get("architectures") or [AUTO_CLASS])[0]
    import transformers

    # By its own name a class comes without the neighbourhood of the Auto classes.
    model_class = getattr(transformers, LANGUAGE_MODELS.get(name, name), None)
    if model_class is None and code.is_allowed(folder) and AUTO_CLASS in (config.get("auto_map") or {}):
        return transformers.AutoModelForCausalLM
    if model_class is None:
        raise ConfigError(f"{folder}: {code.refusal(name, config)}")
    return model_class


def _task_class(folder: Path, classifies: bool, headless: bool) -> Any:
    """Return the class of a folder's architecture for a task, by default the one that its config.json names.

    Raises:
        ConfigError: transformers has none.
    """
    if not classifies and not headless:
        return _model_class(folder)
    import transformers
    from transformers.models.auto import modeling_auto

    model_type = _config(folder).get("model_type")
    names: dict[str, Any] = (
        modeling_auto.MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES
        if classifies
        else modeling_auto.MODEL_MAPPING_NAMES
    )
    name = names.get(str(model_type))
    if classifies and name is None and (classifier := multimodal_classifier(str(model_type))):
        return classifier
    if not isinstance(name, str):
        what = "classifier" if classifies else "model without a head"
        raise ConfigError(f"model: transformers has no {what} of the model type {model_type}; take another model")
    return getattr(transformers, name)


def _without_heads(report: dict[str, Any]) -> dict[str, Any]:
    """Return transformers' loading report without the head that a classifier's base lacks, or has for other classes,
    and the base's own, which another task leaves out."""
    heads = {
        "missing_keys": (f"{HEAD}.",),
        "mismatched_keys": (f"{HEAD}.",),
        "unexpected_keys": (f"{HEAD}.", "lm_head.", "embed_out."),
    }
    return report | {
        kind: [key for key in report[kind] if not (key if isinstance(key, str) else key[0]).startswith(names)]
        for kind, names in heads.items()
    }


def _check_fit(folder: Path, report: dict[str, Any]) -> None:
    """Raise unless transformers' loading report is clean; tied weights do not count as missing there."""
    problems = []
    for kind in ("missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"):
        names = sorted(str(name) for name in report.get(kind) or [])
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            problems.append(f"{len(names)} {kind.replace('_', ' ')}: {', '.join(names[:3])}{more}")
    if problems:
        raise MartletError(f"{folder}: the weights do not fit the architecture: {'; '.join(problems)}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
