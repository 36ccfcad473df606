"""No text holds a special token of the tokenizer's: it would be tokenised as one, and forge a turn."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.data.checks import Batch, Context, Failure

PLACEHOLDERS = {"<image>", "<video>", "<audio>"}
"""Where a row's images, videos and sounds stand in its text."""


def check_rows(batch: Batch, context: Context) -> Iterator[Failure]:
    """All tokens are looked for at once (Aho and Corasick)."""
    import polars as pl

    tokens = [token for token in context.special if token not in PLACEHOLDERS]
    if not tokens:
        return
    found = batch.strings.filter(pl.col("string").str.contains_any(tokens)).unique(
        "row", keep="first", maintain_order=True
    )
    for row, text in found.iter_rows():
        token = max((token for token in tokens if token in text), key=len)
        yield Failure(row, f"holds the special token {token} as text", token)


def special_tokens(folder: Path) -> list[str]:
    """The special tokens that the tokenizer's files in a model folder name, sorted; none where there are no such files.

    Sources: `added_tokens` of tokenizer.json; `added_tokens_decoder` and the `…_token` fields of tokenizer_config.json.
    """
    added = list(_read(folder / "tokenizer.json").get("added_tokens") or ())
    config = _read(folder / "tokenizer_config.json")
    added += (config.get("added_tokens_decoder") or {}).values()
    named = [value for key, value in config.items() if key.endswith("_token")]
    named += config.get("additional_special_tokens") or config.get("extra_special_tokens") or ()
    found = {token["content"] for token in added if token.get("special")}
    found |= {token["content"] if isinstance(token, dict) else token for token in named}
    return sorted(token for token in found if isinstance(token, str) and token.strip())


def _read(file: Path) -> dict[str, Any]:
    """A tokenizer's file; that one is missing or broken is for the stage that needs it to tell."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
