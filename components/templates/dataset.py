"""From clean rows in Parquet to token rows in Arrow files that are mapped into memory, and the report on them."""

import hashlib
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from components.errors import DataGateError, MartletError
from components.files import read_json, sha256, sha256_of, write_json
from components.parallel import no_garbage, ordered, processes
from components.rows import from_arrow, numbers
from components.templates.backend import FastTokenizerDiffersError
from components.templates.chat import ChatTemplate
from components.templates.tokens import IGNORED, Encoder, Samples, Truncation

if TYPE_CHECKING:
    import pyarrow as pa

Progress = Callable[[dict[str, Any]], None]

ALONE = 8192
"""Rows up to which one process does the work: starting others would take longer."""
TOKENIZER_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json",
    "merges.txt", "tokenizer.model",
)  # fmt: skip


class _WeightedError(Exception):
    """A token has a weight other than 0 and 1, and the files have no column for it yet."""


class _Part(NamedTuple):
    """What one row group gave: its tokens, and its share of the report."""

    batch: "pa.RecordBatch | None"
    rows: int
    counts: Counter[str]
    lengths: Counter[int]
    structures: Counter[tuple[str, ...]]
    refused: list[dict[str, Any]]
    backend: str


def tokenize(
    clean: Path,
    out: Path,
    chat: ChatTemplate,
    max_length: int,
    truncation_strategy: Truncation = "delete",
    on_progress: Progress | None = None,
    dataset_num_proc: int | None = None,
) -> dict[str, Any]:
    """Tokenise `clean/{train,val}.parquet` into `out/{train,val}.arrow` and report in `out/template.json`.

    Columns: input_ids and labels (list<int32>, equally long, -100 = not learned), length (int32), source (str) and
    row (int64) of the clean row; loss_scale (list<float32>, as long) where some token weighs neither 0 nor 1. A row
    may give several samples. Returns the report.

    Args:
        dataset_num_proc: processes at work; None is one per core. The files do not depend on it.

    Raises:
        DataGateError: no row of a file can be learned from.
        MartletError: the ids are not those of `apply_chat_template`, or a file is not clean rows.
    """
    splits = {name: clean / f"{name}.parquet" for name in ("train", "val") if (clean / f"{name}.parquet").is_file()}
    if "train" not in splits:
        raise MartletError(f"{clean / 'train.parquet'}: no such file; run the stage validate first")
    fast, weighted = True, False
    while True:
        encoding = _Encoding(chat, max_length, truncation_strategy, fast, weighted)
        try:
            parts = {
                split: _tokenize_split(split, file, out / f"{split}.arrow", encoding, dataset_num_proc, on_progress)
                for split, file in splits.items()
            }
        except FastTokenizerDiffersError:
            fast = False
        except _WeightedError:
            weighted = True
        else:
            break
    report = _report(chat, max_length, truncation_strategy, weighted, parts)
    write_json(out / "template.json", report)
    return report


class _Encoding:
    """The work on one row group. The encoder is made by each process for itself: it must not be forked."""

    def __init__(self, chat: ChatTemplate, max_length: int, strategy: Truncation, fast: bool, weighted: bool) -> None:
        self._settings = (chat, max_length, strategy, fast)
        self.weighted = weighted

    @cached_property
    def encoder(self) -> Encoder:
        return Encoder(*self._settings)

    def __call__(self, item: tuple[str, Path, int]) -> _Part:
        with no_garbage():
            return self._encoded(item)

    def _encoded(self, item: tuple[str, Path, int]) -> _Part:
        import pyarrow.parquet as pq

        split, file, group = item
        with pq.ParquetFile(file) as clean:
            [batch] = clean.read_row_group(group).combine_chunks().to_batches()
        encoder = self.encoder
        encoder.structures = Counter()
        samples = encoder(from_arrow(batch))
        uneven = samples.weights[(samples.weights != 0) & (samples.weights != 1)]
        if len(uneven) and not self.weighted:
            raise _WeightedError
        places = batch.select(["source", "row"])
        refused = [
            {"split": split, **places.slice(n, 1).to_pylist()[0], "reason": r.reason, "detail": r.detail}
            for n, r in sorted(samples.refused.items())
        ]
        counts = Counter(
            learnable=int((samples.labels != IGNORED).sum()),
            truncated=samples.truncated,
            cut=samples.cut,
            emptied=samples.emptied,
        )
        lengths = Counter(np.diff(samples.offsets).tolist())
        tokens = _batch(samples, batch, self.weighted)
        return _Part(tokens, len(batch), counts, lengths, encoder.structures, refused, encoder.backend.name)


def _batch(samples: Samples, rows: "pa.RecordBatch", weighted: bool) -> "pa.RecordBatch":
    import pyarrow as pa

    offsets = numbers(samples.offsets.astype(np.int32))
    columns = [pa.ListArray.from_arrays(offsets, numbers(column)) for column in (samples.ids, samples.labels)]
    columns.append(numbers(np.diff(samples.offsets).astype(np.int32)))
    origin = rows.select(["source", "row"]).take(numbers(samples.owners))
    columns += [origin.column("source").cast(pa.string()), origin.column("row")]
    if weighted:
        columns.append(pa.ListArray.from_arrays(offsets, numbers(samples.weights)))
    return pa.RecordBatch.from_arrays(columns, schema=_schema(weighted))


def _schema(weighted: bool) -> "pa.Schema":
    import pyarrow as pa

    ids = pa.list_(pa.int32())
    columns = {"input_ids": ids, "labels": ids, "length": pa.int32(), "source": pa.string(), "row": pa.int64()}
    return pa.schema(columns | ({"loss_scale": pa.list_(pa.float32())} if weighted else {}))


def _tokenize_split(
    split: str, file: Path, out: Path, encoding: _Encoding, wanted: int | None, on_progress: Progress | None
) -> _Part:
    """Write the tokens of one split and return its share of the report, without tokens."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(file)
    total = metadata.num_rows
    count = 1 if total <= ALONE else processes(wanted)
    whole = _Part(None, 0, Counter(), Counter(), Counter(), [], "")
    items = [(split, file, g) for g in range(metadata.num_row_groups) if metadata.row_group(g).num_rows]
    with pa.OSFile(str(out), "wb") as sink, pa.ipc.new_file(sink, _schema(encoding.weighted)) as writer:
        for part in ordered(encoding, items, count):
            writer.write_batch(part.batch)
            whole = _sum(whole, part)
            if on_progress:
                on_progress({"split": split, "step": whole.rows, "total_steps": total})
    if not whole.lengths:
        raise DataGateError(_nothing_to_learn(split, file, total, whole.refused))
    return whole


def _sum(whole: _Part, part: _Part) -> _Part:
    whole.counts.update(part.counts)
    whole.lengths.update(part.lengths)
    whole.structures.update(part.structures)
    whole.refused.extend(part.refused)
    return whole._replace(rows=whole.rows + part.rows, backend=part.backend)


def _report(
    chat: ChatTemplate, max_length: int, strategy: Truncation, weighted: bool, parts: dict[str, _Part]
) -> dict[str, Any]:
    refused = [refusal for part in parts.values() for refusal in part.refused]
    structures = sum((part.structures for part in parts.values()), Counter[tuple[str, ...]]())
    return {
        "template_sha256": hashlib.sha256(chat.source.encode()).hexdigest(),
        "tokenizer_sha256": tokenizer_sha256(Path(chat.tokenizer.name_or_path)),
        "tokenizer_backend": parts["train"].backend,
        "system": chat.system,
        "max_length": max_length,
        "truncation_strategy": strategy,
        "weighted": weighted,
        "rows": {split: part.rows for split, part in parts.items()},
        "samples": {split: part.lengths.total() for split, part in parts.items()},
        "learnable_tokens": {split: part.counts["learnable"] for split, part in parts.items()},
        "truncated": {split: part.counts["truncated"] for split, part in parts.items()},
        "cut_answers": {split: part.counts["cut"] for split, part in parts.items()},
        "unlearnable_pieces": {split: part.counts["emptied"] for split, part in parts.items()},
        "refused": refused,
        "reasons": dict(Counter(refusal["reason"] for refusal in refused).most_common()),
        "length_histogram": {split: _histogram(part.lengths) for split, part in parts.items()},
        "parity": {
            "equal": True,  # a difference has stopped the run
            "with": "apply_chat_template",
            "structures": [
                {"roles": list(roles), "learned_turns": int(learned), "samples": count}
                for (*roles, learned), count in structures.most_common()
            ],
        },
    }


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


def identity(folder: Path) -> dict[str, str]:
    """What of a model's folder decides the tokens: hashes of its chat template, of its tokenizer's files, and of those
    that say at which tokens it stops."""
    stops = {n: sha256(folder / n) for n in ("config.json", "generation_config.json") if (folder / n).is_file()}
    return {
        "chat template": _template_sha256(folder),
        "tokenizer": tokenizer_sha256(folder),
        "stop tokens": sha256_of(stops),
    }


def _template_sha256(folder: Path) -> str:
    """Of the file of its own, or of what stands in tokenizer_config.json; nothing is loaded."""
    files = [folder / "chat_template.jinja", *sorted(folder.glob("additional_chat_templates/*.jinja"))]
    if found := {file.name: sha256(file) for file in files if file.is_file()}:
        return sha256_of(found)
    config = folder / "tokenizer_config.json"
    return sha256_of(read_json(config).get("chat_template") if config.is_file() else None)


def tokenizer_sha256(folder: Path) -> str:
    """One hash over the tokenizer's files; what trains, merges and serves must agree on it."""
    return sha256_of({name: sha256(folder / name) for name in TOKENIZER_FILES if (folder / name).is_file()})
