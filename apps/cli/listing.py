"""What the commands that list a catalogue share: the width of their tables, and suggestions where nothing matches."""

import os
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from components.errors import did_you_mean

if TYPE_CHECKING:
    from rich.console import Console


def console(width: int) -> "Console":
    """Return a console, of `width` columns where the output goes to a file or another program."""
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = width
    return console


def suggestions(words: Sequence[str], names: Collection[str]) -> str:
    """Return the nearest of `names`, in lower case, for each word that is in none: `qwne (did you mean 'qwen'?); `."""
    near = {word: did_you_mean(word.lower(), names) for word in words if not any(word.lower() in n for n in names)}
    return "".join(f"{word}{name}; " for word, name in near.items() if name)
