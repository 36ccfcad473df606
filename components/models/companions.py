"""Companions: the files beside the weights of a model folder, which every folder made of it has too."""

import shutil
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from components.files import MANIFEST
from components.models import code

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KINDS = ("*.json", "*.jinja", "*.txt", "*.model", "*.tiktoken", "LICENSE*", "LICENCE*", "NOTICE*")
"""Companions: tokenizer, chat templates, processors, generation settings, licences, whatever their names."""
NOT_COMPANIONS = {
    MANIFEST, "config.json", "args.json", "adapter_config.json", "trainer_state.json", "stream.json", "merge.json",
    "quantize.json",
}  # fmt: skip
"""What describes the folder that it lies in, its weights or their making."""


def copy_companions(source: Path, folder: Path, tokenizer: "PreTrainedTokenizerBase | None" = None) -> None:
    """Copy the companion files of `source` and of its sub-folders, byte by byte, so that token ids stay those of the
    training.

    Existing files of `folder` are kept. Weights in other formats, the card and hidden files stay behind, and so does
    code, unless it may run: then it may in `folder` too. A chat template inside tokenizer_config.json is also written
    to chat_template.jinja, where engines look for it.
    """
    may_run = code.is_allowed(source)
    for file in sorted([*source.glob("*"), *source.glob("*/*")]):
        name = file.relative_to(source)
        belongs = is_companion(name) or (may_run and file.suffix == ".py")
        if belongs and file.is_file() and not (folder / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / name)
    if may_run:
        code.allow(folder)
    template = folder / "chat_template.jinja"
    if tokenizer and isinstance(tokenizer.chat_template, str) and not template.exists():
        template.write_text(tokenizer.chat_template, encoding="utf-8")


def is_companion(name: Path) -> bool:
    """Return whether a file of a model folder, by its name there, is one of the companions."""
    if any(part.startswith((".", "checkpoint-")) for part in name.parts) or name.name.endswith(".index.json"):
        return False
    return name.name not in NOT_COMPANIONS and any(fnmatchcase(name.name, kind) for kind in KINDS)
