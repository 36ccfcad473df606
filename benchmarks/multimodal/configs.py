"""Configurations of tiny models that see and hear: sizes by the names of values, and what a type says itself."""

import re
from collections.abc import Mapping
from copy import deepcopy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from benchmarks.tiny_models import LAYERS, LAYERS_OF_SEVERAL_KINDS, SIZES

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

PATCHES = 4
"""Patches along a side of an image."""
VOCABULARY = 512
MORE_SIZES = {
    r"(decoder_|unpadded_|additional_)?vocab_size(_per_layer_input)?": VOCABULARY,
    r".*(hidden|embed|output|projection|proj)_(size|dim)|mm_hidden_size|qformer_hidden_size": 64,
    r"(encoder_|decoder_)?(attention_heads)": 4,
    r"max_position_embeddings|n_positions|n_ctx|max_seq_len|model_max_length|max_target_positions|context_length": 2048,
    r"(num_)?global_layers|.*_layers|.*_depth|layers": LAYERS,
    r".*sliding_window(_size)?|.*attention_chunk_size|index_topk": 128,
    r"num_position_embeddings|max_num_patches": 64,
}
"""Sizes beside those of text models, or instead."""
ALL_SIZES = MORE_SIZES | {
    pattern: size for pattern, size in SIZES.items() if pattern not in MORE_SIZES and "window" not in pattern
}
VALUES = {
    "deepstack_visual_indexes": [0],
    "fullatt_block_indexes": [1],
    "global_attn_indexes": [1],
    "initializer_range": 0.1,  # by the usual 0.02, so narrow a model would hardly pass on what it sees
}
"""Values that are no sizes, by their names."""
TOKEN_ID = re.compile(r"(.+_token)_(?:id|index)")


def config_of(
    config_class: "type[PreTrainedConfig]",
    hints: dict[str, Any],
    tokenizer: "PreTrainedTokenizerBase",
    given: Mapping[str, Any] = MappingProxyType({}),
) -> "PreTrainedConfig":
    """Return a tiny configuration; `hints` stand instead of the sizes, part by part, and `given` are the values that
    the whole has for this part."""
    from transformers import CONFIG_MAPPING

    default = {**config_class().to_dict(), **given}
    values: dict[str, Any] = {
        name: value for name, value in given.items() if isinstance(value, int | float | str | bool)
    }
    values |= {name: size for name, value in default.items() if (size := _size(name, value, default)) is not None}
    values |= {name: number for name in default if (number := _token(name, tokenizer)) is not None}
    values |= {name: value for name, value in VALUES.items() if default.get(name)}
    patch = hints.get("patch_size", default.get("patch_size"))
    if isinstance(patch, int) and isinstance(default.get("image_size"), int):
        values["image_size"] = PATCHES * patch
    parts: Any = config_class.sub_configs
    for name, part in parts.items():
        own = hints.get(name, {})
        if isinstance(own, dict) and (isinstance(default.get(name), dict) or name in hints):
            theirs = default.get(name) or {}
            kind = str(own.get("model_type", theirs.get("model_type", getattr(part, "model_type", None))))
            part_class = part if getattr(part, "model_type", None) == kind else CONFIG_MAPPING[kind]
            same = kind == theirs.get("model_type")
            values[name] = config_of(part_class, own, tokenizer, theirs if same else {})
    for name, value in hints.items():
        if name == "vocabulary_map":
            values[name] = {text: tokenizer.convert_tokens_to_ids(text) for text in value}
        elif name.endswith(("_id", "_index")) and isinstance(value, str):
            values[name] = tokenizer.convert_tokens_to_ids(value)
        elif not (name in parts and isinstance(value, dict)):
            values[name] = deepcopy(value)  # some configurations change what they are given
    return config_class(**values)


def _size(name: str, value: Any, default: dict[str, Any]) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 1:
        return None
    size = next((size for pattern, size in ALL_SIZES.items() if re.fullmatch(pattern, name)), None)
    if size == LAYERS and "layer" in name and {"layer_types", "layers_block_type"} & default.keys():
        return LAYERS_OF_SEVERAL_KINDS
    return size


def _token(name: str, tokenizer: "PreTrainedTokenizerBase") -> int | None:
    found = TOKEN_ID.fullmatch(name)
    text = getattr(tokenizer, found[1], None) if found else None
    return None if text is None else tokenizer.convert_tokens_to_ids(text)  # type: ignore[return-value]
