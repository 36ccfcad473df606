"""The parts of a model that sees or hears: its towers (`vit`), what leads from them to the text (`aligner`), and the
language model (`llm`); the names are ms-swift's."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

ALIGNERS = re.compile(
    r"(?:^|\.)(?:(?:\w*_)?(?:projector|projection|merger|connector|aligner|resampler|perceiver|qformer|abstractor)\w*|"
    r"multi_modal\w*|mm_\w+|embed_(?:vision|audio)|vision_embed_tokens|visual_embeddings_table|(?:img|audio)_proj\w*)"
    r"(?:\.|$)"
)
"""Names of modules between a tower and the language model, in transformers and in models of the hubs."""


def text_part(model: "PreTrainedModel") -> Any:
    """Return the module that reads and writes text; of a model of texts alone the model."""
    config: Any = model.config
    if config.get_text_config(decoder=True) is config:
        return model
    return model.get_decoder() or model


def has_towers(model: "PreTrainedModel") -> bool:
    """Return whether a model takes more than texts."""
    return text_part(model) is not model


def media_tokens(model: Any) -> list[int]:
    """Return the token ids that stand for media in a model's prompts, which the model must not write itself."""
    config = model.config
    names = (f"{kind}_token_{what}" for kind in ("image", "video", "audio") for what in ("id", "index"))
    return sorted({value for name in names if isinstance(value := getattr(config, name, None), int)})


class Parts:
    """Tells by a module's or weight's name which part of a model the module or weight belongs to."""

    def __init__(self, model: "PreTrainedModel") -> None:
        text, heads = text_part(model), (model.get_output_embeddings(), model.get_input_embeddings())
        names = {id(module): name for name, module in model.named_modules()}
        own = (names.get(id(module)) for module in (text, *heads) if module is not None)
        self._text = tuple(name for name in own if name is not None)

    def of(self, name: str) -> str:
        """Return `llm`, `aligner` or `vit`."""
        if any(name == own or name.startswith(f"{own}.") or not own for own in self._text):
            return "llm"
        return "aligner" if ALIGNERS.search(name) else "vit"


def left_plain(model_class: Any, folder: Path) -> list[str]:
    """Return the names of what stays as it is where a model folder of a class is quantized: towers, aligner and heads;
    none for a model of texts alone."""
    import torch

    if not (config_class := getattr(model_class, "config_class", None)):  # an Auto class, for code of a folder's own
        return []
    config = config_class.from_pretrained(folder, local_files_only=True)
    if config.get_text_config(decoder=True) is config:
        return []
    with torch.device("meta"):
        model = model_class(config)
    head = model.get_output_embeddings()
    heads = [name for name, module in model.named_modules() if head is not None and module is head]
    return [*_beside_text(model, Parts(model)), *heads]


def leave_plain(config: Any, model_class: Any, folder: Path) -> Any:
    """Return transformers' configuration of a quantization, told to leave `left_plain` as it is."""
    names = left_plain(model_class, folder)
    for attribute in ("llm_int8_skip_modules", "modules_to_not_convert"):
        if names and hasattr(config, attribute):
            setattr(config, attribute, names)
    return config


def _beside_text(module: Any, parts: Parts, above: str = "") -> Iterator[str]:
    """Yield the names of the outermost modules below one that have nothing of the language model in them."""
    for name, child in module.named_children():
        whole = f"{above}{name}"
        if parts.of(whole) == "llm":
            continue
        if any(parts.of(f"{whole}.{below}") == "llm" for below, _ in child.named_modules() if below):
            yield from _beside_text(child, parts, f"{whole}.")
        else:
            yield whole


def keep_averages(model: Any) -> None:
    """Let batch norms that do not learn use their averages in training, too: what they would gather in it changes the
    model, and no adapter holds it."""
    from torch.nn.modules.batchnorm import _BatchNorm

    for layer in model.modules():
        if isinstance(layer, _BatchNorm) and not any(weight.requires_grad for weight in layer.parameters()):
            layer.register_forward_pre_hook(_evaluate)


def _evaluate(layer: Any, inputs: Any) -> None:  # noqa: ARG001
    layer.eval()
