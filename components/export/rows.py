"""The rows that models are compared on: a few of the run's own, spread over the file."""

from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import MartletError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

COUNT = 8
LONGEST = 256
"""Tokens; logits of a whole vocabulary are large, and a row's beginning tells as much as all of it."""

Ids = list[int]


def token_rows(file: Path, count: int = COUNT, longest: int = LONGEST) -> list[Ids]:
    """Up to `count` rows of token ids from an Arrow file of the stage `template`, evenly spread, cut to `longest`.

    Raises:
        MartletError: the file is not there.
    """
    import pyarrow as pa

    if not file.is_file():
        raise MartletError(f"{file}: no such file; run the stage template first")
    with pa.memory_map(str(file)) as source:
        ids = pa.ipc.open_file(source).read_all()["input_ids"]
        return [ids[i].as_py()[:longest] for i in _spread(len(ids), count)]


def chat_rows(
    file: Path, tokenizer: "PreTrainedTokenizerBase", count: int = COUNT, longest: int = LONGEST
) -> list[Ids]:
    """The same from a Parquet file of the stage `validate`, through the tokenizer's chat template.

    Raises:
        MartletError: the file is not there, or the template refuses all of the rows tried.
    """
    import pyarrow.parquet as pq

    if not file.is_file():
        raise MartletError(f"{file}: no such file; run the stage validate first")
    with pq.ParquetFile(file) as clean:  # `read_table` would import pandas
        messages = clean.read(columns=["messages"])["messages"]
    rows = []
    for i in _spread(len(messages), 4 * count):
        try:
            rows.append(tokenizer.apply_chat_template(messages[i].as_py(), return_dict=False)[:longest])
        except Exception:  # a template raises what its author likes; the stage template has named such rows
            continue
    if not rows:
        raise MartletError(f"{file}: the chat template renders none of the rows")
    return rows[:: max(1, len(rows) // count)][:count]


def _spread(total: int, count: int) -> list[int]:
    return sorted({i * total // count for i in range(count)} if total else ())
