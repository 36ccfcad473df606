"""The variants of bitsandbytes: transformers' own integration quantizes a model while it is loaded."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from components.files import read_json
from components.towers import leave_plain

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig


def save_quantized(source: Path, folder: Path, config: "BitsAndBytesConfig") -> None:
    """Load the model folder `source` with the linear layers of its language model quantized by `config`, and save the
    model to `folder`."""
    import transformers

    # LLM.int8() casts float32 to float16 by design, and bitsandbytes warns of the cast at every call of every layer.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    model_class = getattr(transformers, read_json(source / "config.json")["architectures"][0])
    model = model_class.from_pretrained(
        source,
        quantization_config=leave_plain(config, model_class, source),
        dtype="auto",
        use_safetensors=True,
        local_files_only=True,
    )
    model.save_pretrained(folder)
