"""From clean rows in Parquet to token files, and the report on them."""

from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from components.errors import DataGateError, MartletError
from components.files import write_json
from components.media import kinds_in
from components.parallel import no_garbage, ordered, processes
from components.rows import from_arrow
from components.templates.backend import FastTokenizerDiffersError
from components.templates.chat import ChatTemplate
from components.templates.encoder import Encoder
from components.templates.fitting import TruncationStrategy
from components.templates.report import Part, describe, nothing_to_learn
from components.tokens import ShapeName, schema, tokens_writer

Progress = Callable[[dict[str, Any]], None]
RowGroup = tuple[str, Path, int]
"""A split, its Parquet file, and the number of a row group in the file."""

SINGLE_PROCESS_MAX_ROWS = 8192
"""Rows of a split up to which one process is faster than several with their start."""


class _WeightedError(Exception):
    """A token has a weight other than 0 and 1, and the files have no column for weights yet."""


def tokenize(
    clean: Path,
    out: Path,
    chat: ChatTemplate,
    shape: ShapeName,
    max_length: int,
    truncation_strategy: TruncationStrategy = "delete",
    on_progress: Progress | None = None,
    dataset_num_proc: int | None = None,
) -> dict[str, Any]:
    """Write token files `out/{train,val}.arrow` of `clean/{train,val}.parquet`, and a report in `out/template.json`.

    A row may give several token rows of sft. Returns the report.

    Args:
        clean: folder with canonical rows.
        out: folder for the files.
        chat: the template and its tokenizer.
        shape: of the token files, as `components.tokens` has them.
        max_length: as `Encoder`.
        truncation_strategy: as `Encoder`.
        on_progress: called after each row group with the split, the rows so far and all rows.
        dataset_num_proc: processes at work; None is one per core. The files do not depend on it.

    Raises:
        ConfigError: as `Encoder`.
        DataGateError: no row of a file can be learned from.
        MartletError: the ids are not those of `apply_chat_template`, or there are no clean rows.
    """
    splits = {name: clean / f"{name}.parquet" for name in ("train", "val") if (clean / f"{name}.parquet").is_file()}
    if "train" not in splits:
        raise MartletError(f"{clean / 'train.parquet'}: no such file; run the stage validate first")
    settings = {"shape": shape, "max_length": max_length, "truncation_strategy": truncation_strategy}
    fast, weighted = True, False
    media = chat.media is not None and any(map(kinds_in, splits.values()))
    while True:
        work = _GroupEncoder(chat, settings | {"fast": fast, "weighted": weighted, "media": media})
        try:
            parts = {
                split: _tokenize_split(split, file, out / f"{split}.arrow", work, dataset_num_proc, on_progress)
                for split, file in splits.items()
            }
        except FastTokenizerDiffersError:
            fast = False
        except _WeightedError:
            weighted = True
        else:
            break
    report = describe(chat, settings | {"weighted": weighted}, parts)
    write_json(out / "template.json", report)
    return report


class _GroupEncoder:
    """Encodes row groups. Each process makes an encoder of its own, which must not be forked."""

    def __init__(self, chat: ChatTemplate, settings: dict[str, Any]) -> None:
        self.chat, self.settings = chat, settings
        self.schema = schema(settings["shape"], settings["weighted"], settings["media"])

    @cached_property
    def encoder(self) -> Encoder:
        return Encoder(self.chat, **self.settings)

    def __call__(self, group: RowGroup) -> Part:
        with no_garbage():
            return self._part(*group)

    def _part(self, split: str, file: Path, group: int) -> Part:
        """Return the tokens of a row group, and its share of the report."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(file) as clean:
            [batch] = clean.read_row_group(group).combine_chunks().to_batches()
        self.encoder.structures.clear()
        source, row = batch["source"].to_pylist(), batch["row"].to_pylist()
        tokens, _, refused, counts = self.encoder(from_arrow(batch), source, row)
        if tokens.schema != self.schema:
            raise _WeightedError
        refusals = [
            {"split": split, "source": source[n], "row": row[n], "reason": r.reason, "detail": r.detail}
            for n, r in sorted(refused.items())
        ]
        lengths = Counter(tokens["length"].to_pylist())
        structures = Counter(self.encoder.structures)
        return Part(tokens, len(batch), counts, lengths, structures, refusals, self.encoder.backend.name)


def _tokenize_split(
    split: str, file: Path, out: Path, work: _GroupEncoder, dataset_num_proc: int | None, on_progress: Progress | None
) -> Part:
    """Write the tokens of a split and return its share of the report, without tokens."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(file)
    total = metadata.num_rows
    count = 1 if total <= SINGLE_PROCESS_MAX_ROWS else processes(dataset_num_proc)
    groups = [(split, file, n) for n in range(metadata.num_row_groups) if metadata.row_group(n).num_rows]
    whole = Part(None, 0, Counter(), Counter(), Counter(), [], "")
    with tokens_writer(out, work.schema) as writer:
        for part in ordered(work, groups, count):
            writer.write_batch(part.tokens)
            whole = whole.plus(part)
            if on_progress:
                on_progress({"split": split, "step": whole.rows, "total_steps": total})
    if not whole.lengths:
        raise DataGateError(nothing_to_learn(split, file, total, whole.refused))
    return whole
