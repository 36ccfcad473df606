"""No row is, by its MinHash, at least near_threshold like one that stood earlier in the same split.

Shingles are windows of eight bytes over the lower-case text. A row's signature is the smallest hash in each of 128
bins (one permutation hashing: Li, Owen and Zhang, arXiv:1208.1259; empty bins borrow from the next: Shrivastava and Li,
arXiv:1406.4784). Rows that agree in a band of the signature are compared over all of it. A row of fewer than 64
shingles is too short to tell: it has a signature that no other has.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.data.checks import Batch, Context, Failure, Roster
from components.data.checks.hashes import hashed, mixed, repeated, squeezed

if TYPE_CHECKING:
    import numpy as np

BINS = 128
WINDOW = 8
KEPT = ("u2", BINS)
SHORT = 64
EMPTY = 0xFFFFFFFF
PIECE = 1 << 17
"""Bytes of text that are hashed at a time."""
COMPARED = 1 << 12
"""Pairs that are compared at a time."""


def keep(batch: Batch, _: Context) -> "np.ndarray":
    """The signature of each row: 16 bits of the smallest hash in each bin."""
    import numpy as np

    turns = batch.turns
    texts = squeezed(turns["content"]).str.to_lowercase().to_list()
    order = np.argsort(batch.row_of, kind="stable")
    rows = batch.row_of[order]
    salt = _salt(batch)
    smallest = np.full((len(batch), BINS), EMPTY, np.uint32)
    written, owners, size = [], [], 0
    for i, row in zip(order.tolist(), rows.tolist(), strict=True):
        text = texts[i].encode()
        for start in range(0, len(text), PIECE):
            written.append(text[start : start + PIECE + WINDOW].ljust(WINDOW, b"\0"))
            owners.append(row)
            size += len(written[-1])
            if size > PIECE:
                _fill(smallest, salt, written, owners)
                written, owners, size = [], [], 0
    _fill(smallest, salt, written, owners)
    bytes_of = batch.per_row(turns["content"].str.len_bytes().to_numpy())
    short = np.flatnonzero(bytes_of < SHORT + WINDOW - 1)
    own = (short[:, None] + batch.start) * BINS + np.arange(BINS)
    signatures = _lent(smallest)
    signatures[short] = mixed(own) >> np.uint64(48)
    return signatures


def _salt(batch: Batch) -> "np.ndarray":
    """What makes rows different however like their texts are: what they show, and whether they are good or bad."""
    import numpy as np
    import polars as pl

    salt = np.zeros(len(batch), np.uint64)
    for name in ("label", "images", "videos", "audios", "objects"):
        column = batch.arrow.column(name)
        if column.null_count < len(column):
            values: Any = pl.from_arrow(column)
            salt = mixed(salt) + hashed(values.cast(pl.String))
    return salt


def _fill(smallest: "np.ndarray", salt: "np.ndarray", written: list[bytes], owners: list[int]) -> None:
    """Put the hash of every window of each text into the bins of the row that it belongs to."""
    import numpy as np

    if not written:
        return
    data = b"".join(written)
    lengths = np.fromiter(map(len, written), np.int64, len(written))
    windows = np.ndarray(len(data) - WINDOW + 1, "<u8", data, strides=(1,))
    counts = lengths - WINDOW + 1
    starts = np.cumsum(lengths) - lengths
    within = np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
    hashes = (windows[within] + np.repeat(salt[owners], counts)) * np.uint64(0x9E3779B97F4A7C15)
    hashes ^= hashes >> np.uint64(29)
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    bins = np.repeat(np.asarray(owners) * BINS, counts) + (hashes >> np.uint64(57)).astype(np.int64)
    np.minimum.at(smallest.reshape(-1), bins, (hashes >> np.uint64(20)).astype(np.uint32))


def _lent(smallest: "np.ndarray") -> "np.ndarray":
    """16 bits of each bin; an empty one has those of the next that is not, changed by the distance."""
    import numpy as np

    twice = np.concatenate([smallest, smallest], axis=1)
    places = np.where(twice != EMPTY, np.arange(2 * BINS, dtype=np.int16), np.int16(2 * BINS - 1))
    lender = np.minimum.accumulate(places[:, ::-1], axis=1)[:, ::-1][:, :BINS]
    distance = lender - np.arange(BINS, dtype=np.int16)
    values = np.take_along_axis(twice, lender.astype(np.int64), axis=1)
    return (
        (values * np.uint32(0x9E3779B1) + distance.astype(np.uint32) * np.uint32(0x85EBCA77)) >> np.uint32(16)
    ).astype("u2")


def judge(file: Path, roster: Roster, context: Context) -> Iterator[Failure]:
    """One band at a time: the rows that agree in it with an earlier row are candidates."""
    import numpy as np

    threshold = context.validation.near_threshold
    width = _width(threshold)
    open_ = roster.alive.copy()
    split = np.zeros(len(open_), np.uint8)
    split[roster.of("val")] = 1
    for band in range(BINS // width):
        rows = np.flatnonzero(roster.alive)
        keys = _band(file, band * width, width, len(split))
        keys += split
        later, earlier = (rows[places] for places in repeated(keys[rows]))
        candidates = np.flatnonzero(open_[later] & ~roster.same(earlier, later))
        for start in range(0, len(candidates), COMPARED):
            some = candidates[start : start + COMPARED]
            likeness = _likeness(file, later[some], earlier[some])
            for k in np.flatnonzero(likeness >= threshold).tolist():
                i = int(later[some[k]])
                open_[i] = False
                yield Failure(i, f"{likeness[k]:.0%} the same as {roster.where(int(earlier[some[k]]))}")


def _width(threshold: float) -> int:
    """The widest band by which 95 of 100 pairs at the threshold become candidates."""
    widths = (16, 8, 4, 2, 1)
    return next((w for w in widths if 1 - (1 - threshold**w) ** (BINS // w) >= 0.95), 1)


def _band(file: Path, start: int, width: int, count: int) -> "np.ndarray":
    """64 bits of a part of each signature."""
    import numpy as np

    keys = np.zeros(count, np.uint64)
    done = 0
    with file.open("rb") as stream:
        while len(piece := np.fromfile(stream, "u2", BINS << 14).reshape(-1, BINS)):
            own = keys[done : done + len(piece)]
            for column in range(start, start + width):
                own[:] = mixed(own + piece[:, column])
            done += len(piece)
    return keys


def _likeness(file: Path, one: "np.ndarray", other: "np.ndarray") -> "np.ndarray":
    """The share of the bins in which two rows agree: an estimate of their shingles' Jaccard index."""
    import numpy as np

    with file.open("rb") as stream:
        handle, size = stream.fileno(), 2 * BINS
        read = [b"".join(os.pread(handle, size, size * i) for i in rows.tolist()) for rows in (one, other)]
    first, second = (np.frombuffer(data, "u2").reshape(-1, BINS) for data in read)
    return (first == second).mean(axis=1)
