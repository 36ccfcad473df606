"""Collators: the tensors of one forward pass from rows, padded or joined."""

from typing import TYPE_CHECKING, Any

from components.tokens import IGNORED, TokenRow

if TYPE_CHECKING:
    import numpy as np
    import torch

PADDING_VALUES = {"attention_mask": 0, "position_ids": 0, "labels": IGNORED, "loss_scale": 0.0, "owners": 0}
MAX_JOINED_TOKENS = 8192
"""Longest line that `joining_pays` accepts where the attention builds a mask of length x length."""


class Padded:
    """One row per line, padded on the right to the longest.

    Returns `input_ids`, `attention_mask`, `labels` and, for rows with weights, `loss_scale`, each [rows, longest].
    """

    def __init__(self, pad_token_id: int) -> None:
        self.fill = {**PADDING_VALUES, "input_ids": pad_token_id}

    def __call__(self, rows: list[TokenRow]) -> "dict[str, torch.Tensor]":
        return _stacked([{**row, "attention_mask": _ones(row)} for row in rows], self.fill)


class Isolated:
    """Several documents per line; `position_ids` restart at 0 with each document, which separates the documents.

    A batch of packs has a pack on each line, a batch of rows has all rows on one line; `one_line` puts packs on one
    line as well, for an attention that sees each document alone. The first label of a document is ignored, because the
    token before it belongs to another document. Each padding token at the end of a line is a document of its own.
    `attention_mask` marks the real tokens, for counting: a model must not see the mask (see
    `TokenTrainer.compute_loss`).
    """

    def __init__(self, pad_token_id: int, one_line: bool) -> None:
        self.fill, self.one_line = {**PADDING_VALUES, "input_ids": pad_token_id}, one_line

    def __call__(self, batch: list[Any]) -> "dict[str, torch.Tensor]":
        lines: list[list[TokenRow]] = batch if isinstance(batch[0], list) else [batch]
        if self.one_line:
            lines = [[row for line in lines for row in line]]
        return _stacked([_joined(line) for line in lines], self.fill)


def joining_pays(lengths: "np.ndarray", batch_size: int, hidden_size: int) -> bool:
    """Return whether joined rows cost less than padded ones, for an attention that masks a whole line.

    A line of n tokens costs about n (6 h + n) multiplications a layer, with h the hidden size: 6 h for the linear
    layers (12 h² weights) and n for the attention, which sees the whole line before it is masked.

    Args:
        lengths: tokens of each row, in random order, so that batches are typical.
        batch_size: rows in a forward pass.
    """
    import numpy as np

    if batch_size == 1:
        return False
    starts = np.arange(0, len(lengths), batch_size)
    longest, joined = np.maximum.reduceat(lengths, starts), np.add.reduceat(lengths, starts)
    padded = longest * np.diff(np.append(starts, len(lengths)))
    cost_padded, cost_joined = (padded * (6 * hidden_size + longest)).sum(), (joined * (6 * hidden_size + joined)).sum()
    return bool(cost_joined < cost_padded and joined.max() <= MAX_JOINED_TOKENS)


def _joined(rows: list[TokenRow]) -> TokenRow:
    import numpy as np

    line = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    lengths = [len(row["input_ids"]) for row in rows]
    line["position_ids"] = np.concatenate([np.arange(length) for length in lengths])
    line["labels"][np.cumsum([0, *lengths[:-1]])] = IGNORED
    return {**line, "attention_mask": _ones(line)}


def _ones(row: TokenRow) -> "np.ndarray":
    import numpy as np

    return np.ones(len(row["input_ids"]), dtype=np.int64)


def _stacked(lines: list[TokenRow], fill: dict[str, Any]) -> "dict[str, torch.Tensor]":
    import torch

    longest = max(len(line["input_ids"]) for line in lines)
    tensors: dict[str, torch.Tensor] = {}
    for name in lines[0]:
        kind = torch.float32 if name == "loss_scale" else torch.long
        tensors[name] = torch.full((len(lines), longest), fill[name], dtype=kind)
        for i, line in enumerate(lines):
            tensors[name][i, : len(line[name])] = torch.tensor(line[name])
    return tensors
