"""A merged model as a folder that plain transformers and every engine load."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import ConfigError, MartletError
from components.files import read_json, write_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def stored_dtype(folder: Path) -> str:
    """Return the precision of a model folder's weights, as its config.json says: `bfloat16`, `float32`…

    Raises:
        ConfigError: there is no config.json, or it is not a JSON object.
    """
    file = folder / "config.json"
    try:
        config = read_json(file)
    except FileNotFoundError:
        raise ConfigError(f"{folder}: not a model folder: there is no config.json") from None
    except ValueError as error:
        raise ConfigError(f"{file}: not a model's configuration: {error}") from None
    return config.get("dtype") or config.get("torch_dtype") or "float32"


def save_merged(
    model: "PreTrainedModel",
    base: Path,
    tokenizer: "PreTrainedTokenizerBase",
    folder: Path,
    max_shard_size: str = "5GB",
) -> None:
    """Save weights, configuration and generation settings of a merged model into `folder`.

    The weights are stored in the precision of the base; afterwards `model` holds the rounded weights in float32.
    Generation ends at the end tokens of the base and of the tokenizer, and at
    the tag that the chat template writes after an answer.

    Raises:
        MartletError: the model is not merged: it has tensors of an adapter.
    """
    if adapter_tensors := [name for name in model.state_dict() if "lora_" in name or ".base_layer." in name]:
        raise MartletError(
            f"the model is not merged: {len(adapter_tensors)} tensors of the adapter are left ({adapter_tensors[0]})"
        )
    if model.can_generate():  # a classifier cannot
        model.generation_config.eos_token_id = _stop_tokens(model.generation_config.eos_token_id, tokenizer)
    _cast(model, stored_dtype(base))
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    _cast(model, "float32")


def save_stop_tokens(folder: Path, tokenizer: "PreTrainedTokenizerBase") -> None:
    """Let the generation settings of a model folder, if it has some, end an answer at the tokens that `save_merged`
    names."""
    file = folder / "generation_config.json"
    settings = read_json(file) if file.is_file() else None
    if settings and (ends := _stop_tokens(settings.get("eos_token_id"), tokenizer)) != settings.get("eos_token_id"):
        write_json(file, {**settings, "eos_token_id": ends})


def _stop_tokens(ends: Any, tokenizer: "PreTrainedTokenizerBase") -> int | list[int] | None:
    """Return the end tokens `ends` of a model, and those of its tokenizer and its chat template."""
    return _one_or_list([ends, tokenizer.eos_token_id, end_of_turn(tokenizer)])


def end_of_turn(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """Return the special token that the chat template writes after an answer, or None without such a token."""
    if not tokenizer.chat_template:
        return None
    sentinel = "\ue000"
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": sentinel}]
    text = str(tokenizer.apply_chat_template(messages, tokenize=False))
    suffix = tokenizer.encode(text.rpartition(sentinel)[2], add_special_tokens=False)
    return next((token for token in suffix if token in tokenizer.added_tokens_decoder), None)


def _cast(model: "PreTrainedModel", dtype: str) -> None:
    """Cast the weights only: `model.to` would also round buffers, such as the rotary frequencies."""
    import torch

    for weight in model.parameters():
        weight.data = weight.data.to(getattr(torch, dtype))


def _one_or_list(ends: list[Any]) -> int | list[int] | None:
    """Return the distinct token ids in `ends` (ids, lists of ids, None), in order: a list, one id, or None."""
    flat = [i for end in ends for i in (end if isinstance(end, list) else [end]) if i is not None]
    unique = list(dict.fromkeys(flat))
    return unique if len(unique) > 1 else next(iter(unique), None)
