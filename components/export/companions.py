"""What has to lie beside the weights: the tokenizer as it was, the chat template, and when an answer ends."""

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
    """Copy the tokenizer's files byte by byte, so that the ids stay those that were trained on.

    Files that are there already are kept. A chat template that stands inside of tokenizer_config.json is written to
    chat_template.jinja as well, where engines look for it.
    """
    for name in COMPANIONS:
        if (source / name).is_file() and not (folder / name).exists():
            shutil.copyfile(source / name, folder / name)
    template = folder / "chat_template.jinja"
    if tokenizer and isinstance(tokenizer.chat_template, str) and not template.exists():
        template.write_text(tokenizer.chat_template, encoding="utf-8")


def end_of_turn(tokenizer: "PreTrainedTokenizerBase") -> int | None:
    """The token that the chat template writes after an answer, or None when it writes none (or is not there)."""
    mark = "\ue000"
    messages = [{"role": "user", "content": "?"}, {"role": "assistant", "content": mark}]
    if not tokenizer.chat_template:
        return None
    text = str(tokenizer.apply_chat_template(messages, tokenize=False))
    after = tokenizer.encode(text.rpartition(mark)[2], add_special_tokens=False)
    return next((token for token in after if token in tokenizer.added_tokens_decoder), None)
