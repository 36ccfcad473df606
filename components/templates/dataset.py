"""From clean rows in Parquet to token rows in Arrow files that are mapped into memory, and the report on them."""

from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from components.errors import DataGateError, MartletError
from components.files import write_json
from components.parallel import no_garbage, ordered, processes
from components.rows import from_arrow, numbers
from components.templates.backend import FastTokenizerDiffersError
from components.templates.chat import ChatTemplate
from components.templates.report import Part, describe, nothing_to_learn
from components.templates.tokens import IGNORED, Encoder, Samples, Truncation

if TYPE_CHECKING:
    import pyarrow as pa

Progress = Callable[[dict[str, Any]], None]

ALONE = 8192
"""Rows up to which one process does the work: starting others would take longer."""


class _WeightedError(Exception):
    """A token has a weight other than 0 and 1, and the files have no column for it yet."""


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
    report = describe(chat, max_length, truncation_strategy, weighted, parts)
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

    def __call__(self, item: tuple[str, Path, int]) -> Part:
        with no_garbage():
            return self._encoded(item)

    def _encoded(self, item: tuple[str, Path, int]) -> Part:
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
        return Part(tokens, len(batch), counts, lengths, encoder.structures, refused, encoder.backend.name)


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
) -> Part:
    """Write the tokens of one split and return its share of the report, without tokens."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(file)
    total = metadata.num_rows
    count = 1 if total <= ALONE else processes(wanted)
    whole = Part(None, 0, Counter(), Counter(), Counter(), [], "")
    items = [(split, file, g) for g in range(metadata.num_row_groups) if metadata.row_group(g).num_rows]
    with pa.OSFile(str(out), "wb") as sink, pa.ipc.new_file(sink, _schema(encoding.weighted)) as writer:
        for part in ordered(encoding, items, count):
            writer.write_batch(part.batch)
            whole = _sum(whole, part)
            if on_progress:
                on_progress({"split": split, "step": whole.rows, "total_steps": total})
    if not whole.lengths:
        raise DataGateError(nothing_to_learn(split, file, total, whole.refused))
    return whole


def _sum(whole: Part, part: Part) -> Part:
    whole.counts.update(part.counts)
    whole.lengths.update(part.lengths)
    whole.structures.update(part.structures)
    whole.refused.extend(part.refused)
    return whole._replace(rows=whole.rows + part.rows, backend=part.backend)
