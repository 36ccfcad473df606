"""Folders of tiny random models that see and hear."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.multimodal.configs import config_of
from benchmarks.multimodal.hints import REASONS, TYPES
from benchmarks.multimodal.processors import processor_of
from benchmarks.multimodal.tokens import tokenizer, tokens_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

LARGEST = 2_500_000
"""Parameters of a model that still counts as tiny."""


class Modalities(NamedTuple):
    """What a model takes beside text."""

    image: bool
    video: bool
    audio: bool


def multimodal_types() -> Mapping[str, str]:
    """Return the class of each model type that transformers has a multimodal language model for."""
    from transformers.models.auto import modeling_auto

    names: Any = modeling_auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES
    return names


def build(model_type: str, folder: Path) -> Modalities:
    """Write a model folder of a type, with random weights, its tokenizer, processor and chat template; return what the
    model takes beside text.

    Raises:
        ValueError: the type cannot be tried here, and why.
    """
    import torch
    import transformers
    from transformers import CONFIG_MAPPING

    if model_type in REASONS:
        raise ValueError(REASONS[model_type])
    hints = TYPES.get(model_type, {})
    torch.manual_seed(0)
    words = tokenizer(tokens_of(hints.get("tokens", {})))
    kind = hints.get("model_type", model_type)
    config = config_of(CONFIG_MAPPING[kind], hints.get("config", {}), words)
    model_class: Any = getattr(transformers, hints.get("class", multimodal_types()[kind]))
    with torch.device("meta"):
        size = sum(weight.numel() for weight in model_class(config).parameters())
    if size > LARGEST:
        raise ValueError(f"the sizes of {model_type} are not known here: {size:,} parameters")
    model = model_class(config).eval()
    randomise(model)
    processor, kinds = processor_of(kind, config, hints, words)
    if hints.get("model_type"):  # the whole of the type has this model as its part that reads and writes
        model = _whole(model_type, model)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    (folder / "chat_template.jinja").write_text(str(processor.chat_template), encoding="utf-8")
    return Modalities(**{name: name in hints.get("modalities", kinds) for name in Modalities._fields})


def _whole(model_type: str, thinker: "PreTrainedModel") -> "PreTrainedModel":
    """Return an Omni model, which also speaks, without its voice."""
    import transformers
    from transformers import CONFIG_MAPPING

    config_class: Any = CONFIG_MAPPING[model_type]
    config = config_class(thinker_config=thinker.config.to_dict(), enable_audio_output=False)
    whole: Any = getattr(transformers, multimodal_types()[model_type])(config)
    whole.thinker = thinker
    return whole


def randomise(model: "PreTrainedModel") -> None:
    """Give values to the weights that start as zero: gates and projectors that would hide what is behind them."""
    import torch

    for weight in model.parameters():
        if weight.is_floating_point() and not weight.any():
            torch.nn.init.normal_(weight, std=0.02 if weight.dim() > 1 else 0.5 if weight.numel() == 1 else 0.02)
