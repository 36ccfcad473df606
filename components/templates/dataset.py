"""From clean rows in Parquet to token rows in Arrow files that are mapped into memory, and the report on them."""

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.errors import DataGateError, MartletError
from components.files import sha256, sha256_of, write_json
from components.rows import from_arrow
from components.templates.chat import ChatTemplate, Refused
from components.templates.tokens import IGNORED, Encoded, Encoder, Truncation

if TYPE_CHECKING:
    import pyarrow as pa

Progress = Callable[[dict[str, Any]], None]

BATCH = 2000
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "tokenizer.model",
)  # fmt: skip


def tokenize(
    clean: Path,
    out: Path,
    chat: ChatTemplate,
    max_length: int,
    truncation_strategy: Truncation = "delete",
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Tokenise `clean/{train,val}.parquet` into `out/{train,val}.arrow` and report in `out/template.json`.

    Columns: input_ids and labels (list<int32>, equally long, -100 = not learned), length (int32), source (str) and
    row (int64) of the clean row. A row may give several samples. Returns the report.

    Raises:
        DataGateError: no row of a file can be learned from.
        MartletError: the ids are not those of `apply_chat_template`, or a file is not clean rows.
    """
    encoder = Encoder(chat, max_length, truncation_strategy)
    splits = {name: clean / f"{name}.parquet" for name in ("train", "val") if (clean / f"{name}.parquet").is_file()}
    if "train" not in splits:
        raise MartletError(f"{clean / 'train.parquet'}: no such file; run the stage validate first")
    report: dict[str, Any] = {
        "template_sha256": hashlib.sha256(chat.source.encode()).hexdigest(),
        "tokenizer_sha256": _tokenizer_hash(Path(chat.tokenizer.name_or_path)),
        "system": chat.system,
        "max_length": max_length,
        "truncation_strategy": truncation_strategy,
        "rows": {},
        "samples": {},
        "learnable_tokens": {},
        "truncated": {},
        "refused": [],
        "reasons": {},
        "length_histogram": {},
    }
    for split, file in splits.items():
        _tokenize_split(split, file, out / f"{split}.arrow", encoder, report, on_progress)
    report["reasons"] = dict(Counter(refusal["reason"] for refusal in report["refused"]).most_common())
    report["parity"] = {
        "equal": True,  # a difference has stopped the run
        "with": "apply_chat_template",
        "structures": [
            {"roles": list(roles), "learned_turns": int(learned), "samples": count}
            for (*roles, learned), count in encoder.structures.most_common()
        ],
    }
    write_json(out / "template.json", report)
    return report


def _tokenize_split(
    split: str, file: Path, out: Path, encoder: Encoder, report: dict[str, Any], on_progress: Progress | None
) -> None:
    import pyarrow as pa

    lengths: Counter[int] = Counter()
    refused, counts = [], Counter(rows=0, learnable=0, truncated=0)
    schema = pa.schema(
        [
            ("input_ids", pa.list_(pa.int32())),
            ("labels", pa.list_(pa.int32())),
            ("length", pa.int32()),
            ("source", pa.string()),
            ("row", pa.int64()),
        ]
    )
    with pa.OSFile(str(out), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch, total in _batches(file):
            samples, rows = [], array("i")
            for n, outcome in enumerate(encoder(from_arrow(batch))):
                if isinstance(outcome, Refused):
                    at = {name: batch.column(name)[n].as_py() for name in ("source", "row")}
                    refused.append({"split": split, **at, "reason": outcome.reason, "detail": outcome.detail})
                else:
                    samples += outcome
                    rows.extend([n] * len(outcome))
            origin = batch.take(_int32(rows))
            columns = [*_columns(samples), origin.column("source").cast(pa.string()), origin.column("row")]
            writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))
            lengths.update(len(sample.input_ids) for sample in samples)
            counts["rows"] += len(batch)
            counts["learnable"] += sum(len(sample.labels) - sample.labels.count(IGNORED) for sample in samples)
            counts["truncated"] += sum(sample.truncated for sample in samples)
            if on_progress:
                on_progress({"split": split, "step": counts["rows"], "total_steps": total})
    if not lengths:
        raise DataGateError(_nothing_to_learn(split, file, counts["rows"], refused))
    report["rows"][split] = counts["rows"]
    report["samples"][split] = lengths.total()
    report["learnable_tokens"][split] = counts["learnable"]
    report["truncated"][split] = counts["truncated"]
    report["refused"] += refused
    report["length_histogram"][split] = _histogram(lengths)


def _batches(file: Path) -> "Iterator[tuple[pa.RecordBatch, int]]":
    """The rows of a clean file, a batch at a time, and how many there are in all."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(file) as clean:
        for batch in clean.iter_batches(BATCH, columns=None):
            yield batch, clean.metadata.num_rows


def _columns(samples: list[Encoded]) -> "list[pa.Array]":
    """Token ids, labels and lengths as Arrow arrays."""
    import pyarrow as pa

    ids, labels, starts = array("i"), array("i"), array("i", [0])
    for sample in samples:
        ids.extend(sample.input_ids)
        labels.extend(sample.labels)
        starts.append(len(ids))
    lengths = array("i", (len(sample.input_ids) for sample in samples))
    offsets = _int32(starts)
    return [
        pa.ListArray.from_arrays(offsets, _int32(ids)),
        pa.ListArray.from_arrays(offsets, _int32(labels)),
        _int32(lengths),
    ]


def _int32(values: "array[int]") -> "pa.Array":
    # From Python lists pyarrow makes arrays only after importing pandas, which costs as much as a thousand rows.
    import pyarrow as pa

    return pa.Array.from_buffers(pa.int32(), len(values), [None, pa.py_buffer(values)])


def _nothing_to_learn(split: str, file: Path, rows: int, refused: list[dict[str, Any]]) -> str:
    if not rows:
        return f"template: {file} holds no rows"
    lines = [f"template: every label is masked: none of the {rows} rows of {split} can be learned from"]
    for reason, count in Counter(refusal["reason"] for refusal in refused).most_common():
        example = next(refusal for refusal in refused if refusal["reason"] == reason)
        detail = f", {example['detail']}" if example["detail"] else ""
        lines.append(f"{count} x {reason} (for example {example['source']}:{example['row']}{detail})")
    return "\n  ".join(lines)


def _histogram(lengths: Counter[int]) -> list[dict[str, int]]:
    """Samples by length in tokens, in bins that double: up to 16, 32, 64…"""
    bins: Counter[int] = Counter()
    for length, count in lengths.items():
        bins[max(16, 1 << (length - 1).bit_length())] += count
    return [{"up_to": top, "samples": count} for top, count in sorted(bins.items())]


def _tokenizer_hash(folder: Path) -> str:
    """One hash over the tokenizer's files; what trains, merges and serves must agree on it."""
    return sha256_of({name: sha256(folder / name) for name in TOKENIZER_FILES if (folder / name).is_file()})
