"""No picture looks like one of a validation row, or like one of an earlier row with the same text.

Pictures are compared by their dHash, of which 2 of 64 bits may differ: the same picture in another size, format or
quality. Pictures of the same content with the same text are left to `duplicate`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.data.checks import Batch, Context, Failure
from components.data.checks._hashes import hashed, placed, squeezed, sums
from components.data.checks._media import inspected
from components.data.row_index import RowIndex

if TYPE_CHECKING:
    import numpy as np

RECORD = [("row", "u4"), ("content", "u8"), ("look", "u8"), ("text", "u8")]
BITS = 2
"""Bits that may differ."""
BANDS = 4
"""Parts of a look, one of which is the same in looks that differ in fewer bits."""


def records(batch: Batch, context: Context) -> "np.ndarray":
    """Return for each picture that shows something its look, with 64 bits of its content and of its row's text."""
    import numpy as np

    pictures = [
        (i + batch.start, int(medium.sha256[:16], 16), facts.look, 0)
        for i, _, medium, facts in inspected(batch, context)
        if facts.look
    ]
    records = np.array(pictures, RECORD)
    if len(records):
        words = hashed(squeezed(batch.turns["content"]))
        texts = sums(placed(words, batch.turns["place"].to_numpy()), batch.row_of, len(batch))
        records["text"] = texts[records["row"] - batch.start]
    return records


def check_set(file: Path, rows: RowIndex, _: Context) -> Iterator[Failure]:
    """Yield training rows with a picture of a validation row, and rows with text and picture of an earlier one."""
    import numpy as np

    records = np.fromfile(file, RECORD)
    records = records[rows.clean[records["row"]]]
    is_val = records["row"] >= rows.train_rows
    matches: dict[int, tuple[bool, int]] = {}
    for band in range(BANDS):
        key = (records["look"] >> np.uint64(16 * band)) & np.uint64(0xFFFF)
        order = np.argsort(key, kind="stable")
        ends = np.flatnonzero(np.diff(key[order], append=-1 if not len(key) else key[order][-1:] + np.uint64(1))) + 1
        start = 0
        for end in ends.tolist():
            if end - start > 1:
                _compare(records, is_val, order[start:end], matches)
            start = end
    for row, (leaks, other) in sorted(matches.items()):
        beside = "is held out for validation in" if leaks else "stands with the same text in"
        yield Failure(row, f"a picture that looks the same {beside} {rows.where(other)}")


def _compare(records: Any, is_val: Any, group: Any, matches: dict[int, tuple[bool, int]]) -> None:
    """Add to `matches` the rows of a group whose picture looks like another's, with whether that one is held out."""
    import numpy as np

    looks = records["look"][group]
    for place in range(len(group)):
        one = group[place]
        alike = np.bitwise_count(looks ^ looks[place]) <= BITS
        others = group[alike]
        others = others[records["row"][others] != records["row"][one]]
        held_out = others[is_val[others]] if not is_val[one] else others[:0]
        twins = others[
            (is_val[others] == is_val[one])
            & (records["row"][others] < records["row"][one])
            & (records["text"][others] == records["text"][one])
            & (records["content"][others] != records["content"][one])
        ]
        row = int(records["row"][one])
        if len(held_out):
            matches[row] = True, int(records["row"][held_out].min())
        elif len(twins) and row not in matches:
            matches[row] = False, int(records["row"][twins].min())
