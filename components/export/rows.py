"""Rows of token ids on which models are compared: a few of the run's own, spread over the file."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import MartletError
from components.rows import Row, from_arrow, read_batches
from components.tokens import TokenRows

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ROW_COUNT = 8
ATTEMPTS_PER_ROW = 4
"""Rows tried for each row needed: a chat template may refuse some."""
MAX_TOKENS = 256
"""Tokens per row: the logits of a whole vocabulary are large, and the beginning of a row is enough to compare."""

Ids = list[int]


def token_rows(file: Path, count: int = ROW_COUNT, max_tokens: int = MAX_TOKENS) -> list[Ids]:
    """Return up to `count` rows of token ids from a token file, evenly spread, each cut to `max_tokens`.

    Raises:
        MartletError: the file does not exist or is empty.
    """
    rows = TokenRows(file)
    return [rows.ids(index)[:max_tokens].tolist() for index in _spread(len(rows), count)]


def chat_rows(
    file: Path, tokenizer: "PreTrainedTokenizerBase", count: int = ROW_COUNT, max_tokens: int = MAX_TOKENS
) -> list[Ids]:
    """Return up to `count` rows of token ids from clean rows in Parquet, through the tokenizer's chat template.

    A preference gives its prompt with the chosen answer, plain text its own ids.

    Raises:
        MartletError: the file does not exist, or the template refuses all rows tried.
    """
    if not file.is_file():
        raise MartletError(f"{file}: no such file; run the stage validate first")
    ids: list[Ids] = []
    for row in _spread_rows(file, ATTEMPTS_PER_ROW * count):
        try:
            ids.append(_encode(row, tokenizer)[:max_tokens])
        except Exception:  # a template may raise anything; the stage template has reported such rows
            continue
    if not ids:
        raise MartletError(f"{file}: the chat template renders none of the rows")
    return ids[:: max(1, len(ids) // count)][:count]


def _encode(row: Row, tokenizer: "PreTrainedTokenizerBase") -> Ids:
    if "text" in row:
        return tokenizer(row["text"])["input_ids"]  # type: ignore[return-value]
    messages = row.get("messages") or row["prompt"] + (row.get("chosen") or row.get("completion") or [])
    settings: dict[str, Any] = row.get("chat_template_kwargs") or {}
    return tokenizer.apply_chat_template(messages, tools=row.get("tools"), return_dict=False, **settings)  # type: ignore[return-value]


def _spread_rows(file: Path, count: int) -> Iterator[Row]:
    import pyarrow.parquet as pq

    chosen = set(_spread(pq.read_metadata(file).num_rows, count))
    number = 0
    for batch in read_batches(file):
        indices = [index for index in range(batch.num_rows) if number + index in chosen]
        yield from from_arrow(batch.take(indices))
        number += batch.num_rows


def _spread(total: int, count: int) -> list[int]:
    """Return up to `count` indices below `total`, evenly spread."""
    return sorted({i * total // count for i in range(count)} if total else ())
