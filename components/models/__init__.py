"""Models: from the name that a user gives to a folder, and from a folder to a model in memory.

    identity = resolve("Qwen/Qwen3-0.6B", revision=None, use_hf=True, workspace=Path.cwd())   # kept in data/model.json
    base = folder(identity, Path.cwd())
    model, tokenizer = load_model(base), load_tokenizer(base)

A name is resolved once, to a commit on its hub or to the hash of a local folder; every later stage works from that.
Weights come from safetensors only, code of a model's folder runs only where `--trust_remote_code` allows that, and
weights that do not fit their class are an error.
"""

from components.models.code import allow as allow_code
from components.models.code import is_allowed as is_code_allowed
from components.models.companions import copy_companions
from components.models.identity import folder, require_name, resolve, unpinned
from components.models.load import (
    classes_in,
    context_length,
    load_model,
    load_tokenizer,
    native_dtype,
    quantization_label,
    set_padding,
    skeleton,
    stored_quantization,
)
from components.models.quantization import QUANTIZATIONS, loading_problems, prepared

__all__ = [
    "QUANTIZATIONS",
    "allow_code",
    "classes_in",
    "context_length",
    "copy_companions",
    "folder",
    "is_code_allowed",
    "load_model",
    "load_tokenizer",
    "loading_problems",
    "native_dtype",
    "prepared",
    "quantization_label",
    "require_name",
    "resolve",
    "set_padding",
    "skeleton",
    "stored_quantization",
    "unpinned",
]
