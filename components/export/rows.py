"""Rows of token ids on which models are compared and calibrated: some of the run's own, spread over the file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from components.export.answers import ANSWER_TOKENS
from components.tokens import IGNORED, TokenRows

ROW_COUNT = 8
MAX_TOKENS = 256
"""Tokens per row: the logits of a whole vocabulary are large, and the beginning of a row is enough to compare."""
PROMPT_COUNT = 16
PROMPT_TOKENS = MAX_TOKENS - ANSWER_TOKENS
GENERATED = ("sft", "text", "preference", "label", "prompt")
"""Shapes of tokens whose rows hold a text that a model writes."""

Ids = list[int]
Row = Ids | dict[str, Any]


class Samples(NamedTuple):
    """Token ids that a model is compared on, and quantized with.

    Attributes:
        rows: whole rows, whose logits are compared; one with media is the inputs of a model.
        prompts: what greedy answers are compared on.
        prompts_from: where the prompts come from, for people.
        calibration: the rows that a quantizer calibrates on.
    """

    rows: Sequence[Row]
    prompts: list[Ids]
    prompts_from: str
    calibration: list[Ids]


def token_rows(file: Path, count: int = ROW_COUNT, max_tokens: int = MAX_TOKENS) -> list[Ids]:
    """Return up to `count` rows of token ids from a token file, evenly spread, each cut to `max_tokens`, without the
    tokens that stand for media.

    Raises:
        MartletError: the file does not exist or is empty.
    """
    rows = TokenRows(file)
    return [rows.text_ids(index)[:max_tokens].tolist() for index in _spread(len(rows), count)]


def prompt_rows(file: Path, count: int = PROMPT_COUNT, max_tokens: int = PROMPT_TOKENS) -> list[Ids]:
    """Return up to `count` prompts of token ids from a token file, evenly spread.

    The prompt of a chat is what comes before the first learned token, that of plain text its first half. Of a longer
    prompt the last `max_tokens` are taken, which end with the generation prompt. Texts that are judged as a whole have
    none.

    Raises:
        MartletError: the file does not exist or is empty.
    """
    rows = TokenRows(file)
    if rows.shape not in GENERATED:
        return []
    prompts = (_prompt(rows, index) for index in _spread(len(rows), count))
    return [prompt[-max_tokens:] for prompt in prompts if prompt]


def _prompt(rows: TokenRows, index: int) -> Ids:
    row, is_text = rows[index], ~rows.is_medium(index)
    if "prompt_ids" in row:
        return row["prompt_ids"][is_text[: len(row["prompt_ids"])]].tolist()
    ids, labels = row["input_ids"][is_text], row["labels"][is_text]
    learned = (labels != IGNORED).nonzero()[0]
    begin = int(learned[0]) if len(learned) else len(ids)
    return ids[: begin or len(ids) // 2].tolist()


def samples(tokens: Path, calibration_rows: int = 0, max_length: int = MAX_TOKENS) -> Samples:
    """Return the samples of a folder of token files: prompts come from its validation rows if it has some.

    Args:
        calibration_rows: how many rows to calibrate on.
        max_length: tokens of a row to calibrate on.
    """
    train, held_out = tokens / "train.arrow", tokens / "val.arrow"
    prompts_from = "validation rows" if held_out.is_file() else "training rows"
    return Samples(
        token_rows(train),
        prompt_rows(held_out if held_out.is_file() else train),
        prompts_from,
        token_rows(train, calibration_rows, max_length) if calibration_rows else [],
    )


def _spread(total: int, count: int) -> list[int]:
    """Return up to `count` indices below `total`, evenly spread."""
    return sorted({i * total // count for i in range(count)} if total else ())
