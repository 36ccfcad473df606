"""Processors of tiny models: image, video and audio parts whose sizes are those of the model's configuration."""

import inspect
from typing import TYPE_CHECKING, Any

from benchmarks.multimodal.configs import PATCHES
from benchmarks.multimodal.tokens import template

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase, ProcessorMixin

MEDIA = {"image_processor": "image", "video_processor": "video", "feature_extractor": "audio", "audio_processor": "audio"}


def processor_of(
    model_type: str, config: "PreTrainedConfig", hints: dict[str, Any], tokenizer: "PreTrainedTokenizerBase"
) -> "tuple[ProcessorMixin, set[str]]":
    """Return the processor of a type, and the kinds of media it takes."""
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    processor_class = getattr(transformers, hints.get("processor_class") or PROCESSOR_MAPPING_NAMES[model_type])
    parts: dict[str, Any] = {}
    for attribute in processor_class.get_attributes():
        if attribute not in MEDIA:
            parts[attribute] = tokenizer
        elif hints.get(f"{MEDIA[attribute]}_class", "") is not None:
            parts[attribute] = _part(model_type, MEDIA[attribute], config, hints)
    kinds = {MEDIA[attribute] for attribute in parts if attribute in MEDIA}
    texts = {kind: getattr(tokenizer, f"{kind}_token", f"<{kind}>") for kind in ("image", "video", "audio")}
    jinja = template(texts | hints.get("template", {}))
    if "chat_template" in inspect.signature(processor_class.__init__).parameters:
        parts["chat_template"] = jinja
    processor = processor_class(**parts, **hints.get("processor", {}))
    processor.chat_template = jinja
    return processor, kinds


def _part(model_type: str, kind: str, config: "PreTrainedConfig", hints: dict[str, Any]) -> Any:
    """Return the part of a processor for one kind of media."""
    import transformers

    part_class = getattr(transformers, hints.get(f"{kind}_class") or _class_name(model_type, kind))
    options = hints.get(kind, {})
    if kind == "audio":
        return part_class(**options)
    vision: Any = getattr(config, "vision_config", config)
    default = part_class()
    values: dict[str, Any] = {}
    if isinstance(patch := getattr(vision, "patch_size", None), int) and hasattr(default, "patch_size"):
        values["patch_size"] = patch
    side = getattr(vision, "image_size", None)
    side = side if isinstance(side, int) else PATCHES * (patch if isinstance(patch, int) else 14)
    for name in ("size", "crop_size"):
        if (value := getattr(default, name, None)) is not None:
            values[name] = _small(value, side)
    return part_class(**values | options)


def _small(size: Any, side: int) -> dict[str, int]:
    """Return a size of the same form, in which an image has `side` pixels along a side, or that many times four."""
    keys = {name for name in ("height", "width", "shortest_edge", "longest_edge", "max_height", "max_width") if getattr(size, name, None) is not None}
    if keys == {"shortest_edge", "longest_edge"} and size.longest_edge > 10_000:  # pixels in all
        return {"shortest_edge": side * side, "longest_edge": 16 * side * side}
    return dict.fromkeys(keys, side)


def _class_name(model_type: str, kind: str) -> str:
    from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES
    from transformers.models.auto.image_processing_auto import IMAGE_PROCESSOR_MAPPING_NAMES
    from transformers.models.auto.video_processing_auto import VIDEO_PROCESSOR_MAPPING_NAMES

    if kind == "audio":
        return FEATURE_EXTRACTOR_MAPPING_NAMES[model_type]
    names = (IMAGE_PROCESSOR_MAPPING_NAMES if kind == "image" else VIDEO_PROCESSOR_MAPPING_NAMES)[model_type]
    return names.get("torchvision") or names["pil"]
