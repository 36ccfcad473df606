"""No text holds a special token of the tokenizer's: it would be tokenised as one, and forge a turn."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.data.checks import Batch, Context, Failure

PLACEHOLDERS = {"<image>", "<video>", "<audio>"}
"""Marks in a text for the row's images, videos and sounds."""


def check_rows(batch: Batch, context: Context) -> Iterator[Failure]:
    """Yield the rows that hold a special token; all tokens are looked for at once (Aho and Corasick)."""
    import polars as pl

    tokens = [token for token in context.special if token not in PLACEHOLDERS]
    if not tokens:
        return
    suspects = batch.strings.filter(pl.col("string").str.contains_any(tokens)).unique(
        "row", keep="first", maintain_order=True
    )
    for row, text in suspects.iter_rows():
        token = max((token for token in tokens if token in text), key=len)
        yield Failure(row, f"holds the special token {token} as text", token)


def special_tokens(folder: Path) -> list[str]:
    """Return the special tokens in the tokenizer's files of a model folder, sorted; none where there are no such files.

    Sources: `added_tokens` of tokenizer.json; `added_tokens_decoder` and the `…_token` fields of tokenizer_config.json.
    """
    added = list(_read(folder / "tokenizer.json").get("added_tokens") or ())
    config = _read(folder / "tokenizer_config.json")
    added += (config.get("added_tokens_decoder") or {}).values()
    named = [value for key, value in config.items() if key.endswith("_token")]
    named += config.get("additional_special_tokens") or config.get("extra_special_tokens") or ()
    names = {token["content"] for token in added if token.get("special")}
    names |= {token["content"] if isinstance(token, dict) else token for token in named}
    return sorted(token for token in names if isinstance(token, str) and token.strip())


def _read(file: Path) -> dict[str, Any]:
    """Return the content of a tokenizer's file; a missing or broken file is an error of the stage that needs it."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
