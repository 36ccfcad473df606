"""The tokens that a served model stops at."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.files import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def stop_tokens(tokenizer: "PreTrainedTokenizerBase") -> frozenset[str]:
    """Return the tokenizer's `eos_token` and the tokens that the files beside it name as `eos_token_id`."""
    ids: set[Any] = set()
    for name in ("generation_config.json", "config.json"):
        file = Path(tokenizer.name_or_path) / name
        if tokenizer.name_or_path and file.is_file():
            config = read_json(file)
            for part in (config, config.get("text_config") or {}):
                eos = part.get("eos_token_id")
                ids |= set(eos if isinstance(eos, list) else [eos]) - {None}
    added = tokenizer.added_tokens_decoder
    tokens = {added[i].content for i in ids if i in added}
    return frozenset(tokens | ({str(tokenizer.eos_token)} if tokenizer.eos_token else set()))
