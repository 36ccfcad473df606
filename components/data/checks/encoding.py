"""No character was lost (U+FFFD) or garbled (Ã© for é) by a wrong encoding, and none is a control character."""

import re
from collections.abc import Iterator

from components.data.checks import Batch, Context, Failure

CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\x{FEFF}\x{FFFD}-\x{FFFF}]"
GARBLED = r"[ÂÃâð][\x{80}-\x{BF}ŒœŠšŸŽžƒˆ˜–—‘’‚“”„†‡•…‰‹›€™]+"
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\ufffd-\uffff]")
_GARBLED = re.compile("[ÂÃâð][\x80-\xbfŒœŠšŸŽžƒˆ˜–—‘’‚“”„†‡•…‰‹›€™]+")


def check_rows(batch: Batch, _: Context) -> Iterator[Failure]:
    """One regular expression finds what may be damage, a closer look what is."""
    import polars as pl

    suspect = batch.strings.filter(pl.col("string").str.contains(f"{CONTROL}|{GARBLED}"))
    reported: set[int] = set()
    for row, text in suspect.iter_rows():
        reason, bit = _damage(text) or ("", "")
        if reason and row not in reported:
            reported.add(row)
            yield Failure(row, reason, bit)


def _damage(text: str) -> tuple[str, str] | None:
    for match in _GARBLED.finditer(text):
        if intended := _read_again(match[0]):
            return f"'{match[0]}' seems to be a garbled '{intended}': UTF-8 that was read as another encoding", match[0]
    match = _CONTROL.search(text)
    if not match:
        return None
    place, code = match.start() + 1, f"U+{ord(match[0]):04X}"
    if match[0] == "\ufffd":
        return f"character {place} is {code}: what stood there was lost in a wrong encoding", match[0]
    return f"character {place} is the control character {code}", match[0]


def _read_again(text: str) -> str:
    """What the text says if it is UTF-8 read as Windows-1252; empty if it is not."""
    data = bytearray()
    for character in text:
        try:
            data += character.encode("cp1252")
        except UnicodeEncodeError:  # five bytes stand for nothing there, and are kept as they are
            data.append(ord(character))
    for end in range(len(data), 1, -1):
        try:
            return data[:end].decode()
        except UnicodeDecodeError:
            continue
    return ""
