"""Token files: what the stage `template` writes and training reads, one shape for each family of methods.

| shape | columns of token ids, and what stands beside them |
|---|---|
| `sft`, `text` | `input_ids`, `labels`; `loss_scale` where a token weighs neither 0 nor 1 |
| `preference` | `prompt_ids`, `chosen_ids`, `chosen_labels`, `rejected_ids`, `rejected_labels`, `margin` (JSON) |
| `label` | `prompt_ids`, `completion_ids`, `completion_labels`, `label` (bool) |
| `prompt` | `prompt_ids`, `prompt` (JSON: the messages), `extra` (JSON: the columns that a reward reads, and `tools`) |
| `classification` | `input_ids`, `target` (JSON: a number, a name, or a list of these) |
| `pair` | `anchor_ids`, `positive_ids`, `negative_ids` (of all negatives), `negative_lengths`, `score` (JSON) |

Ids and labels are lists of int32, weights lists of float32; a label is the token's id, or `IGNORED` where nothing is
learned. `X_labels` is as long as `X_ids`. Every shape also has `length` (int32: all ids of the row), `source` (text)
and `row` (int64): the dataset and the number there of the row that the tokens come from. `media`, where a row has some,
refers to pictures, clips and sounds: kind, path, sha256, the `frames` of a video that is pictures, the `placeholder`
that the chat template writes, and the tokens [start, start + length) that stand for each.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from components.errors import MartletError
from components.files import sha256, sha256_of
from components.rows import numbers, texts

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "tokenizer.model",
)  # fmt: skip
"""Files of a model folder that decide its token ids."""
IGNORED = -100
"""The label of a token that is not learned: PyTorch's cross entropy leaves it out."""

ShapeName = Literal["sft", "text", "preference", "label", "prompt", "classification", "pair"]
SHAPES: dict[str, tuple[str, ...]] = {
    "sft": ("input_ids", "labels"),
    "text": ("input_ids", "labels"),
    "preference": ("prompt_ids", "chosen_ids", "chosen_labels", "rejected_ids", "rejected_labels"),
    "label": ("prompt_ids", "completion_ids", "completion_labels"),
    "prompt": ("prompt_ids",),
    "classification": ("input_ids",),
    "pair": ("anchor_ids", "positive_ids", "negative_ids", "negative_lengths"),
}
"""Shape to its list columns."""
BESIDE: dict[str, tuple[str, ...]] = {
    "preference": ("margin",), "label": ("label",), "prompt": ("prompt", "extra"), "classification": ("target",),
    "pair": ("score",),
}  # fmt: skip
"""Shape to its other columns."""

TokenRow = dict[str, Any]
"""One row of a token file: each list column as an array [length], and the shape's other columns as Python values."""


def has_labels(shape: str) -> bool:
    """Return whether tokens of a shape are learned, rather than what is said of a whole text."""
    return any(name.endswith("labels") for name in SHAPES[shape])


class Ragged(NamedTuple):
    """Lists of different lengths in one array: list `i` is `values[offsets[i]:offsets[i + 1]]`."""

    values: "np.ndarray"
    offsets: "np.ndarray"


def schema(shape: str, weighted: bool = False, media: bool = False) -> "pa.Schema":
    """Return the Arrow schema of a shape; its metadata name the shape."""
    import pyarrow as pa

    ids = pa.list_(pa.int32())
    columns: dict[str, Any] = dict.fromkeys(SHAPES[shape], ids)
    kinds = {
        "margin": pa.string(),
        "label": pa.bool_(),
        "prompt": pa.string(),
        "extra": pa.string(),
        "target": pa.string(),
        "score": pa.string(),
    }
    columns |= {name: kinds[name] for name in BESIDE.get(shape, ())}
    columns |= {"length": pa.int32(), "source": pa.string(), "row": pa.int64()}
    if weighted:
        columns["loss_scale"] = pa.list_(pa.float32())
    if media:
        columns["media"] = pa.list_(_medium())
    return pa.schema(columns, metadata={"shape": shape})


def _medium() -> "pa.DataType":
    import pyarrow as pa

    reference = {"kind": pa.string(), "path": pa.string(), "sha256": pa.string()}
    place = {"placeholder": pa.string(), "start": pa.int32(), "length": pa.int32()}
    return pa.struct({**reference, "frames": pa.list_(pa.struct(reference)), **place})


def to_batch(
    shape: str,
    columns: Mapping[str, Ragged],
    source: Sequence[str],
    row: Sequence[int],
    beside: Mapping[str, Sequence[Any]] | None = None,
    media: Sequence[list[dict[str, Any]]] | None = None,
) -> "pa.RecordBatch":
    """Return token rows as one batch of `schema(shape, …)`.

    Args:
        shape: a key of `SHAPES`.
        columns: the shape's list columns, and `loss_scale` where tokens are weighed.
        source: the dataset of each row, as text.
        row: the number of each row in its dataset, from 0.
        beside: the shape's other columns.
        media: for each row its references, without which there is no such column.
    """
    import numpy as np
    import pyarrow as pa

    whole = schema(shape, "loss_scale" in columns, media is not None)
    lengths = sum((np.diff(columns[name].offsets) for name in SHAPES[shape] if _is_ids(name)), np.zeros(len(row), int))
    values: dict[str, pa.Array] = {
        **{name: _lists(column, whole.field(name).type.value_type) for name, column in columns.items()},
        "length": numbers(lengths.astype(np.int32)),
        "source": texts(source),
        "row": numbers(np.asarray(row, np.int64)),
    }
    for name, cells in (beside or {}).items():
        values[name] = (
            texts(cells) if whole.field(name).type == pa.string() else pa.array(cells, whole.field(name).type)
        )
    if media is not None:
        values["media"] = pa.array(media, whole.field("media").type)
    return pa.RecordBatch.from_arrays([values[name] for name in whole.names], schema=whole)


def _lists(column: Ragged, kind: "pa.DataType") -> "pa.ListArray":
    import numpy as np
    import pyarrow as pa

    values = np.ascontiguousarray(column.values, np.float32 if kind == pa.float32() else np.int32)
    return pa.ListArray.from_arrays(numbers(column.offsets.astype(np.int32)), numbers(values))


def _is_ids(name: str) -> bool:
    return name.endswith("_ids")


@contextmanager
def tokens_writer(file: Path, whole: "pa.Schema") -> Generator[Any]:
    """Open an Arrow file for batches of the schema `whole`: `writer.write_batch(batch)`."""
    import pyarrow as pa

    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, whole) as writer:
        yield writer


class TokenRows:
    """The rows of a token file, which stays on the disk and is mapped into memory, or those of one batch.

    Attributes:
        shape: a key of `SHAPES`.
        weighted: the rows have `loss_scale`.
        has_media: the rows have `media`.
        lengths: tokens of each row [rows].

    Raises:
        MartletError: the file is not there, is damaged, or holds no rows.
    """

    def __init__(self, source: "Path | pa.RecordBatch") -> None:
        import pyarrow as pa

        if isinstance(source, Path):
            if not source.is_file():
                raise MartletError(f"{source}: no such file; run the stage template first")
            try:
                table = pa.ipc.open_file(pa.memory_map(str(source))).read_all()
            except (pa.ArrowException, OSError) as error:
                raise MartletError(f"{source}: the token file is damaged; remove it, and run again") from error
            if not len(table):
                raise MartletError(f"{source}: no rows to learn from")
        else:
            table = pa.Table.from_batches([source])
        self.shape = str((table.schema.metadata or {}).get(b"shape", b"sft"), "utf-8")
        self.weighted, self.has_media = "loss_scale" in table.column_names, "media" in table.column_names
        self.lengths: np.ndarray = table["length"].to_numpy()
        self._table = table
        self._lists = {name: table[name] for name in (*SHAPES[self.shape], *["loss_scale"] * self.weighted)}

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, index: int) -> TokenRow:
        import orjson

        row: TokenRow = {name: column[index].values.to_numpy() for name, column in self._lists.items()}
        for name in BESIDE.get(self.shape, ()):
            value = self._table[name][index].as_py()
            row[name] = orjson.loads(value) if isinstance(value, str) else value
        if self.has_media:
            row["media"] = self._table["media"][index].as_py()
        return row

    def ids(self, index: int) -> "np.ndarray":
        """Return the token ids of a row as a model reads them; of a preference, those with the chosen answer."""
        import numpy as np

        names = [name for name in SHAPES[self.shape] if _is_ids(name) and name != "rejected_ids"]
        return np.concatenate([self._lists[name][index].values.to_numpy() for name in names])

    def text_ids(self, index: int) -> "np.ndarray":
        """Return the token ids of a row without those that stand for media."""
        return self.ids(index)[~self.is_medium(index)]

    def is_medium(self, index: int) -> "np.ndarray":
        """Return for each token of `ids` whether it stands for a medium [tokens]."""
        import numpy as np

        marks = np.zeros(len(self.ids(index)), bool)
        for medium in (self._table["media"][index].as_py() or ()) if self.has_media else ():
            marks[medium["start"] : medium["start"] + medium["length"]] = True
        return marks

    def learned(self) -> "np.ndarray":
        """Return how many tokens of each row are learned [rows]; 0 where the shape has no labels."""
        import numpy as np

        counts = np.zeros(len(self), np.int64)
        for name in SHAPES[self.shape]:
            if name.endswith("labels"):
                counts += np.concatenate([_learned(chunk) for chunk in self._lists[name].chunks])
        return counts

    def totals(self) -> "np.ndarray":
        """Return the tokens of all sequences of each row [rows]: the prompt of a preference counts with each answer."""
        return self.lengths + self._counts("prompt_ids") if self.shape == "preference" else self.lengths

    def sequences(self) -> "tuple[np.ndarray, np.ndarray]":
        """Return how many sequences each row is to a model, and the tokens of the longest of them [rows]: a pair is its
        texts, a preference its prompt with each answer, a row of another shape is taken for one sequence."""
        import numpy as np

        if self.shape == "preference":
            prompts, chosen, rejected = (self._counts(f"{name}_ids") for name in ("prompt", "chosen", "rejected"))
            return np.full(len(self), 2), prompts + np.maximum(chosen, rejected)
        if self.shape != "pair":
            return np.ones(len(self), np.int64), np.asarray(self.lengths)
        anchors, positives, negatives = map(self._counts, ("anchor_ids", "positive_ids", "negative_lengths"))
        longest = np.maximum(anchors, positives)
        lengths = np.concatenate([chunk.flatten().to_numpy() for chunk in self._lists["negative_lengths"].chunks])
        np.maximum.at(longest, np.repeat(np.arange(len(self)), negatives), lengths)
        return 2 + negatives, longest

    def _counts(self, name: str) -> "np.ndarray":
        import numpy as np

        return np.concatenate([chunk.value_lengths().to_numpy() for chunk in self._lists[name].chunks])

    def targets(self) -> list[Any]:
        """Return the label of each row of the shape `classification`."""
        return self._values("target")

    def scores(self) -> list[float | None]:
        """Return how alike the texts of each row of the shape `pair` are, None where the row does not say."""
        return self._values("score")

    def judgements(self) -> list[bool]:
        """Return for each row of the shape `label` whether its answer is a good one."""
        return self._table["label"].to_pylist()

    def negatives(self) -> int:
        """Return how many negatives all rows of the shape `pair` have together."""
        return sum(len(chunk.flatten()) for chunk in self._lists["negative_lengths"].chunks)

    def _values(self, name: str) -> list[Any]:
        import orjson

        return [orjson.loads(value) for value in self._table[name].to_pylist()]

    def origin(self, index: int) -> str:
        """Return where a row comes from, for people: `my.jsonl, row 12`."""
        return f"{self._table['source'][index]}, row {self._table['row'][index]}"

    def origins(self, index: int) -> list[str]:
        """Return where the rows of an item come from, which here is one row; a pack has several."""
        return [self.origin(index)]

    def sources(self) -> list[str]:
        """Return the dataset of each row."""
        return self._table["source"].to_pylist()


def _learned(labels: "pa.ListArray") -> "np.ndarray":
    import numpy as np

    before = np.concatenate([[0], np.cumsum(labels.flatten().to_numpy() != IGNORED)])
    lengths = labels.value_lengths().to_numpy()
    ends = np.cumsum(lengths)
    return before[ends] - before[ends - lengths]


def pad_token_id(tokenizer: Any) -> int:
    """Return the token to pad with; any will do, since padding is masked."""
    return next(t for t in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if t is not None)


def tokenizer_sha256(folder: Path) -> str:
    """Return one hash over the tokenizer's files, on which training, merging and serving must agree."""
    return sha256_of({name: sha256(folder / name) for name in TOKENIZER_FILES if (folder / name).is_file()})
