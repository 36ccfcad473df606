"""From an Arrow file of tokens to padded batches."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import MartletError
from components.files import sha256, sha256_of

if TYPE_CHECKING:
    import torch

IGNORED = -100
"""Label of a token that is not learned."""


def tokens_hash(folder: Path) -> str:
    """Hex sha256 over train.arrow and, where there is one, val.arrow."""
    return sha256_of([sha256(file) for file in sorted(folder.glob("*.arrow"))])


class Rows:
    """A map-style dataset over the columns `input_ids` and `labels` (lists of int) of a memory-mapped Arrow file."""

    def __init__(self, file: Path) -> None:
        import pyarrow as pa

        table = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
        self.input_ids, self.labels = table["input_ids"], table["labels"]
        if not len(self):
            raise MartletError(f"{file}: no rows to learn from")

    def __len__(self) -> int:
        return len(self.input_ids)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {
            "input_ids": self.input_ids[index].values.to_numpy(),
            "labels": self.labels[index].values.to_numpy(),
        }


class Collator:
    """Pad on the right to the longest row: `input_ids`, `attention_mask` and `labels`, each [rows, longest]."""

    def __init__(self, pad_token_id: int) -> None:
        self.pad_token_id = pad_token_id

    def __call__(self, rows: list[dict[str, Any]]) -> "dict[str, torch.Tensor]":
        import torch

        shape = len(rows), max(len(row["input_ids"]) for row in rows)
        input_ids = torch.full(shape, self.pad_token_id, dtype=torch.long)
        attention_mask = torch.zeros(shape, dtype=torch.long)
        labels = torch.full(shape, IGNORED, dtype=torch.long)
        for i, row in enumerate(rows):
            length = len(row["input_ids"])
            input_ids[i, :length] = torch.tensor(row["input_ids"])
            attention_mask[i, :length] = 1
            labels[i, :length] = torch.tensor(row["labels"])
        return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}
