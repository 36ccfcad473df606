"""A merged model as a folder that plain transformers, and every engine, loads."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import MartletError
from components.export.companions import copy_companions, end_of_turn
from components.files import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def stored_dtype(folder: Path) -> str:
    """The precision that a model folder's weights are stored in, as config.json says: `bfloat16`, `float32`…"""
    config = read_json(folder / "config.json")
    return config.get("dtype") or config.get("torch_dtype") or "float32"


def save_merged(
    model: "PreTrainedModel",
    base: Path,
    tokenizer: "PreTrainedTokenizerBase",
    folder: Path,
    max_shard_size: str = "5GB",
) -> None:
    """Save weights, configuration, tokenizer, chat template and generation settings of a merged model into `folder`.

    The weights are stored in the base's own precision; `model` is left in float32 with the weights rounded to it. The
    tokenizer's files are the base's. Generation ends at the base's end tokens, at the tokenizer's, and at the tag that
    the chat template writes after an answer.

    Raises:
        MartletError: tensors of the adapter are left in the model, so that it was not merged.
    """
    if left := [name for name in model.state_dict() if "lora_" in name or ".base_layer." in name]:
        raise MartletError(f"the model is not merged: {len(left)} tensors of the adapter are left ({left[0]})")
    ends = [model.generation_config.eos_token_id, tokenizer.eos_token_id, end_of_turn(tokenizer)]
    model.generation_config.eos_token_id = _one_or_list(ends)
    _cast(model, stored_dtype(base))
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    _cast(model, "float32")
    copy_companions(base, folder, tokenizer)


def _cast(model: "PreTrainedModel", dtype: str) -> None:
    """Cast the weights only: `model.to` would round buffers too, such as the rotary frequencies."""
    import torch

    for weight in model.parameters():
        weight.data = weight.data.to(getattr(torch, dtype))


def _one_or_list(ends: list[Any]) -> int | list[int] | None:
    """All token ids among `ends` (ids, lists of ids, None), once each, in order."""
    flat = [i for end in ends for i in (end if isinstance(end, list) else [end]) if i is not None]
    unique = list(dict.fromkeys(flat))
    return unique if len(unique) > 1 else next(iter(unique), None)
