"""What the variants of bitsandbytes share: quantized while it is loaded, by transformers' own integration."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from components.files import read_json

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig


def save_quantized(source: Path, folder: Path, config: "BitsAndBytesConfig") -> None:
    """Load `source` with its linear layers quantized as `config` says, and save that."""
    import transformers

    # It warns at every call of every layer that float32 is cast to float16, as LLM.int8() has it.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    model_class = getattr(transformers, read_json(source / "config.json")["architectures"][0])
    model = model_class.from_pretrained(
        source, quantization_config=config, dtype="auto", use_safetensors=True, local_files_only=True
    )
    model.save_pretrained(folder)
