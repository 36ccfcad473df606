"""Media that lie in a folder beside what is said of them: `metadata.jsonl`, or a text of the same name for each.

https://huggingface.co/docs/datasets/image_dataset
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from components.data.exact_json import exact
from components.media import COLUMNS, SUFFIXES, kind_of

METADATA = "metadata"
"""Name, without its suffix, of the file whose rows name a medium each, in `file_name`."""
NumberedRow = tuple[int, dict[str, Any], bytes | None]


def with_media(rows: Iterable[NumberedRow]) -> Iterator[NumberedRow]:
    """Yield the rows of a metadata file, each with its `file_name` in the column of such media."""
    for number, row, text in rows:
        name = row.get("file_name")
        kind = kind_of(name) if isinstance(name, str) else None
        if kind is None:
            yield number, row, text
            continue
        others = exact(row, text) if text else row
        yield (
            number,
            {COLUMNS[kind]: [name]} | {key: value for key, value in others.items() if key != "file_name"},
            None,
        )


def medium_beside(path: Path) -> Path | None:
    """Return the medium that a text file of the same name is the caption of, or None."""
    if path.suffix.lower() != ".txt":
        return None
    names = (path.with_suffix(suffix) for suffixes in SUFFIXES.values() for suffix in suffixes)
    return next((name for name in names if name.is_file()), None)


def captioned(medium: Path, caption: str) -> dict[str, Any]:
    """Return the row of a medium and its caption."""
    return {COLUMNS[kind_of(medium.name) or "image"]: [medium.name], "text": caption.strip()}
