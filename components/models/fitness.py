"""What keeps a model folder from being trained as the parameters say, read from its small files before any work.

Neither torch nor transformers is imported: a command that cannot end well says so at once.
"""

import json
import math
import re
import struct
from collections.abc import Collection, Iterator
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from components.classes import CLASSIFIER
from components.config import Params
from components.files import read_json
from components.models import quantization
from components.models.code import AUTO_CLASS, refusal

EMBEDDINGS = ("embed_tokens", "lm_head", "wte", "embed_in", "embed_out")
"""Last parts of the names of input and output embeddings."""

POSITIONS = ("wpe", "positions_embed", "position_embedding", "position_embeddings", "embed_positions")
"""Last parts of the names of tables with a row for each position."""


def problems(folder: Path, params: Params) -> list[str]:
    """Return what cannot end well with the base in `folder`, a sentence each, with what to do instead."""
    file = folder / "config.json"
    try:
        config = read_json(file)
        architecture = (config.get("architectures") or [""])[0]
    except FileNotFoundError:
        return [f"model: {folder} is not a model folder: there is no config.json"]
    except (ValueError, AttributeError, LookupError, TypeError) as error:
        return [f"model: {file} is not a model's configuration: {error}"]
    sentences = []
    if architecture and not is_native(architecture):
        if not (params.model.trust_remote_code and AUTO_CLASS in (config.get("auto_map") or {})):
            sentences.append(f"model: {refusal(architecture, config)}")
    elif architecture and (problem := _unfit_for(params.method.task_type, architecture, config)):
        sentences.append(f"model: {problem}")
    if config.get("is_encoder_decoder"):
        sentences.append(f"model: {architecture} reads with an encoder; take a model that only continues text")
    if not any(folder.glob("*.safetensors")):
        sentences.append(f"model: {folder} has no weights in safetensors format; pickled weights are never loaded")
    if stored := config.get("quantization_config"):
        sentences += quantization.problems(stored, params.quantization) + quantization.untrainable(stored)
    if params.quantization.quant_method == "hqq":
        sentences += _indivisible(folder, params.quantization.hqq_group_size)
    sentences += _positions(folder, config, params.template.max_length)
    sentences += _heads(config, params.distributed.sequence_parallel_size)
    return sentences + _embeddings(folder, config, params) + _tokens(folder, config)


@cache
def known_names() -> frozenset[str]:
    """Return the names in transformers' tables of model types and classes, read from their source files."""
    text = (_transformers_models() / "auto/modeling_auto.py").read_text(encoding="utf-8")
    return frozenset(re.findall(r'"(\w+)"', text))


def is_native(architecture: str) -> bool:
    """Return whether the installed transformers has a class of that name, from its source files."""
    files = _transformers_models().glob("*/modeling_*.py")
    return architecture in known_names() or any(
        f"class {architecture}(" in file.read_text(encoding="utf-8") for file in files
    )


def _unfit_for(task_type: str, architecture: str, config: dict[str, Any]) -> str | None:
    """Return why a class of transformers cannot be trained for a task, or None."""
    if task_type == "causal_lm":
        if _continues_text(architecture):
            return None
        classifier = "; to train it on classes, give --task_type seq_cls" * architecture.endswith(CLASSIFIER)
        return f"{architecture} does not continue text; take the model that its head was put on{classifier}"
    tables = {
        "seq_cls": (
            "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES",
            "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES",
            "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES",
        ),
        "embedding": ("MODEL_MAPPING_NAMES",),
    }
    if any(f'("{config.get("model_type")}", "' in _table(table) for table in tables[task_type]):
        return None
    return f"transformers has no model for {task_type} of the type {config.get('model_type')}; take another model"


def _table(name: str) -> str:
    """Return a table of transformers' Auto classes, as its source file has it."""
    tables = (_transformers_models() / "auto/modeling_auto.py").read_text(encoding="utf-8")
    return tables.partition(f"{name} = ")[2].partition("\n)")[0]


def _continues_text(architecture: str) -> bool:
    """Return whether a class of transformers writes text, by its tables of such models or by its name."""
    tables = ("CAUSAL_LM", "MULTIMODAL_LM", "IMAGE_TEXT_TO_TEXT")
    writes = any(f'"{architecture}"' in _table(f"MODEL_FOR_{name}_MAPPING_NAMES") for name in tables)
    return writes or architecture.endswith(("ForCausalLM", "ForConditionalGeneration"))


def _transformers_models() -> Path:
    return Path(str(find_spec("transformers").origin)).parent / "models"  # type: ignore[union-attr]


def _heads(config: dict[str, Any], parts: int) -> list[str]:
    """Return a sentence if the heads of the attention do not divide among the processes that divide a row."""
    text = config.get("text_config") or config
    heads = text.get("num_attention_heads", text.get("n_head", parts))
    shared = text.get("num_key_value_heads") or heads
    common = math.gcd(heads, shared)
    if common % parts == 0:
        return []
    fitting = " or ".join(str(n) for n in range(1, common + 1) if common % n == 0)
    return [
        f"sequence_parallel_size: {parts} processes cannot divide the {heads} heads of this model's attention and its "
        f"{shared} key-value heads; choose {fitting}"
    ]


def _embeddings(folder: Path, config: dict[str, Any], params: Params) -> list[str]:
    """An adapter on one of two embeddings that are one tensor would make them two, which no merge can write."""
    if params.tuner.tuner_type == "full" or not _is_tied(folder, config):
        return []
    names = [name for name in params.tuner.target_modules if name.rpartition(".")[2] in EMBEDDINGS]
    return [
        f"target_modules: {name} shares its weights with the other embedding of this model, so no merge will take an "
        f"adapter on it; train it in full with --modules_to_save embed_tokens, or leave it out"
        for name in names
    ]


def _is_tied(folder: Path, config: dict[str, Any]) -> bool:
    """Return whether input and output embedding are one tensor; a configuration may leave that to its class, and then
    the files hold no output embedding."""
    tied = (config.get("text_config") or {}).get("tie_word_embeddings", config.get("tie_word_embeddings"))
    if tied is not None:
        return bool(tied)
    return not any(name.split(".")[-2:-1] in (["lm_head"], ["embed_out"]) for name in _tensors(folder))


def _positions(folder: Path, config: dict[str, Any], length: int) -> list[str]:
    """Return a sentence if rows of `length` tokens are longer than a model's table of positions; those that are
    computed, as rotary ones are, have no end."""
    text = config.get("text_config") or config
    count = text.get("n_positions") or text.get("max_position_embeddings")
    if not isinstance(count, int) or length <= count:
        return []
    tables = {
        (about.get("shape") or [0])[0]
        for name, about in _headers(folder)
        if name.removesuffix(".weight").rpartition(".")[2] in POSITIONS
    }
    if "n_positions" not in text and not tables & {count, count + 2}:  # OPT keeps two rows for padding
        return []
    return [f"max_length: the model has {count} positions, and rows may have {length} tokens; add --max_length {count}"]


def lacks_tensors_of(folder: Path, names: Collection[str]) -> bool:
    """Return whether a folder has no tensor of one of the layers `names`, which may also be stored by another name."""
    stored = [f".{name}" for name in _tensors(folder)] if names else []
    return any(all(f".{name}." not in tensor for tensor in stored) for name in names)


def _indivisible(folder: Path, size: int) -> list[str]:
    """Return a sentence if the weights of a linear layer do not divide into groups of `size`."""
    for name, about in _headers(folder):
        shape = about.get("shape", [])
        is_linear = len(shape) == 2 and name.endswith(".weight") and name.split(".")[-2] not in EMBEDDINGS
        if is_linear and shape[0] * shape[1] % size:
            return [f"hqq_group_size: {size} does not divide the {shape[0] * shape[1]} weights of {name}"]
    return []


def _tensors(folder: Path) -> Iterator[str]:
    """Yield the names of the tensors in a folder's safetensors files."""
    return (name for name, _ in _headers(folder))


def _headers(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and description of the tensors in a folder's safetensors files; a damaged file has none until it is
    loaded."""
    for file in folder.glob("*.safetensors"):
        with file.open("rb") as stream, suppress(struct.error, ValueError):
            (length,) = struct.unpack("<Q", stream.read(8))
            yield from json.loads(stream.read(length)).items()


def _tokens(folder: Path, config: dict[str, Any]) -> list[str]:
    """Return a sentence if the tokenizer may write a token that the embedding has no row for.

    A special token that no template writes does no harm (Gemma 3 has one): rows that contain it are refused.
    """
    rows = (config.get("text_config") or {}).get("vocab_size", config.get("vocab_size"))
    file = folder / "tokenizer.json"
    if not (isinstance(rows, int) and file.is_file()):
        return []
    try:
        tokenizer, settings = read_json(file), _optional(folder / "tokenizer_config.json")
        vocabulary = tokenizer["model"]["vocab"]
        ids = vocabulary.values() if isinstance(vocabulary, dict) else range(len(vocabulary))
        added = {token["content"]: token["id"] for token in tokenizer.get("added_tokens") or []}
        special = {token["content"] for token in tokenizer.get("added_tokens") or [] if token.get("special")}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        return [f"model: the tokenizer cannot be read: {file}: {error}"]
    templates = (f.read_text(encoding="utf-8", errors="replace") for f in folder.rglob("*.jinja"))
    written = json.dumps(settings, ensure_ascii=False) + "".join(templates)
    in_use = [name for name, token in added.items() if token >= rows and (name not in special or name in written)]
    largest = max((i for i in ids if i not in set(added.values())), default=-1)
    if largest < rows and not in_use:
        return []
    which = f"its token {in_use[0]} has the id {added[in_use[0]]}" if in_use else f"its ids go up to {largest}"
    return [
        f"model: the tokenizer is longer than the embedding, which has {rows} rows: {which}; resize the embedding and "
        "save the model (transformers: resize_token_embeddings), or take the tokenizer that belongs to it"
    ]


def _optional(file: Path) -> Any:
    settings = read_json(file) if file.is_file() else {}
    return {name: value for name, value in settings.items() if name != "added_tokens_decoder"}
