"""Models and tokenizers: which one is meant, where it lies, and loading it strictly.

    identity = resolve("Qwen/Qwen3-0.6B", None, use_hf=False, workspace=Path.cwd())   # recorded in data/model.json
    model = load_model(folder(identity, Path.cwd()))

A name is resolved once, to a commit on its hub or to a hash of a local folder; every later stage works from that.
Weights come from safetensors only, remote code is never run, and a checkpoint that does not fit its class is an error.
"""

from components.models.identity import folder, resolve
from components.models.load import load_model, load_tokenizer

__all__ = ["folder", "load_model", "load_tokenizer", "resolve"]
