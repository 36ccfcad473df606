"""The files beside the weights: tokenizer, chat template, generation settings; and the token that ends an answer."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COMPANIONS = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "tokenizer.model", "chat_template.jinja", "preprocessor_config.json", "generation_config.json",
)  # fmt: skip


def copy_companions(source: Path, folder: Path, tokenizer: "PreTrainedTokenizerBase | None" = None) -> None:
    """Copy the companion files of `source` byte by byte, so that token ids stay those of the training.

    Existing files of `folder` are kept. A chat template inside tokenizer_config.json is also written to
    chat_template.jinja, where engines look for it.
    """
    for name in COMPANIONS:
        if (source / name).is_file() and not (folder / name).exists():
            shutil.copyfile(source / name, folder / name)
    template = folder / "chat_template.jinja"
    if tokenizer and isinstance(tokenizer.chat_template, str) and not template.exists():
        template.write_text(tokenizer.chat_template, encoding="utf-8")


def end_of_turn(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """Return the special token that the chat template writes after an answer, or None without such a token."""
    if not tokenizer.chat_template:
        return None
    sentinel = "\ue000"
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": sentinel}]
    text = str(tokenizer.apply_chat_template(messages, tokenize=False))
    suffix = tokenizer.encode(text.rpartition(sentinel)[2], add_special_tokens=False)
    return next((token for token in suffix if token in tokenizer.added_tokens_decoder), None)
