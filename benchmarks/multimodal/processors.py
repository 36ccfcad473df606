"""Processors of tiny models: image, video and audio parts whose sizes are those of the model's configuration."""

import inspect
from typing import TYPE_CHECKING, Any

from benchmarks.multimodal.configs import PATCHES
from benchmarks.multimodal.tokens import template

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase, ProcessorMixin

MEDIA = {
    "image_processor": "image",
    "video_processor": "video",
    "feature_extractor": "audio",
    "audio_processor": "audio",
}
"""What the parts of a processor take."""
PIXELS = 10_000
"""More than this is no side of an image but the number of its pixels."""


def processor_of(
    model_type: str, config: "PreTrainedConfig", hints: dict[str, Any], tokenizer: "PreTrainedTokenizerBase"
) -> "tuple[ProcessorMixin, set[str]]":
    """Return the processor of a type, and the kinds of media it takes."""
    import transformers
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING_NAMES

    processor_class = getattr(transformers, str(hints.get("processor_class") or PROCESSOR_MAPPING_NAMES[model_type]))
    parts: dict[str, Any] = {}
    for attribute in processor_class.get_attributes():
        if attribute not in MEDIA:
            parts[attribute] = tokenizer
        elif hints.get(f"{MEDIA[attribute]}_class", "") is not None:
            parts[attribute] = _part(model_type, MEDIA[attribute], config, hints)
    kinds = {MEDIA[attribute] for attribute in parts if attribute in MEDIA}
    texts = {kind: getattr(tokenizer, f"{kind}_token", f"<{kind}>") for kind in ("image", "video", "audio")}
    jinja = template(texts | hints.get("template", {}), hints.get("start", ""))
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
    names = ("height", "width", "shortest_edge", "longest_edge", "max_height", "max_width")
    given = {name for name in names if getattr(size, name, None) is not None}
    if given == {"shortest_edge", "longest_edge"} and size.longest_edge > PIXELS:
        return {"shortest_edge": side * side, "longest_edge": 16 * side * side}
    return dict.fromkeys(given, side)


def _class_name(model_type: str, kind: str) -> str:
    """Return the class that transformers names for a type and a kind of media."""
    from transformers.models.auto import feature_extraction_auto, image_processing_auto, video_processing_auto

    tables: dict[str, Any] = {
        "image": image_processing_auto.IMAGE_PROCESSOR_MAPPING_NAMES,
        "video": video_processing_auto.VIDEO_PROCESSOR_MAPPING_NAMES,
        "audio": feature_extraction_auto.FEATURE_EXTRACTOR_MAPPING_NAMES,
    }
    name = tables[kind][model_type]
    return name if isinstance(name, str) else name.get("torchvision") or name["pil"]
