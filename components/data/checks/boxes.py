"""Boxes in `objects` are numbers inside of their picture, and as many as the tags <bbox> and <ref-object> ask for."""

import math
from collections.abc import Iterator
from typing import Any

from components.data.checks import Batch, Context, Failure
from components.data.checks._media import inspected
from components.rows import CONVERSATIONS, Row

KINDS = ("real", "norm1")
"""Boxes in pixels of the picture, or in shares of its sides."""
TAGS = {"ref": "<ref-object>", "bbox": "<bbox>"}
TOLERANCE_PIXELS = 1


def check_rows(batch: Batch, context: Context) -> Iterator[Failure]:
    """As in ms-swift a box has 2 numbers (a point) or 4 (left, top, right, bottom), and belongs to the picture
    `image_id`, by default the first."""
    if not batch.has("objects"):
        return
    sizes: dict[int, list[tuple[int, int]]] = {}
    for i, _, medium, facts in inspected(batch, context):
        if medium.kind == "image":
            sizes.setdefault(i, []).append((facts.width, facts.height))
    for i, row in enumerate(batch.rows):
        if row.get("objects") and (problem := _problem(row, sizes.get(i, []))):
            yield Failure(i, problem, "objects")


def _problem(row: Row, sizes: list[tuple[int, int]]) -> str:
    objects = row["objects"]
    kind = objects.get("bbox_type") or "real"
    if kind not in KINDS:
        return f"'bbox_type' must be one of {', '.join(KINDS)}, not {str(kind)[:40]!r}"
    lists = {name: objects.get(name) or [] for name in ("ref", "bbox", "image_id")}
    if wrong := next((name for name, value in lists.items() if not isinstance(value, list)), None):
        return f"'{wrong}' of 'objects' must be a list"
    text = "\n".join([m["content"] for name in CONVERSATIONS for m in row.get(name) or ()] + [row.get("text") or ""])
    for name, tag in TAGS.items():
        if (count := text.count(tag)) and count != len(lists[name]):
            return f"{count} {tag} {'tag' if count == 1 else 'tags'} for {len(lists[name])} in '{name}' of 'objects'"
    boxes, pictures = lists["bbox"], lists["image_id"] or [0] * len(lists["bbox"])
    if len(pictures) != len(boxes):
        return f"'image_id' names {len(pictures)} pictures for {len(boxes)} boxes"
    problems = (_of_box(box, picture, kind, row, sizes) for box, picture in zip(boxes, pictures, strict=True))
    return next((f"box {number}: {problem}" for number, problem in enumerate(problems, 1) if problem), "")


def _of_box(box: Any, picture: Any, kind: str, row: Row, sizes: list[tuple[int, int]]) -> str:
    if not isinstance(box, list) or not all(_is_number(edge) for edge in box):
        return f"must be a list of numbers, not {str(box)[:60]!r}"
    if len(box) not in (2, 4):
        return f"has {len(box)} numbers, not 2 or 4"
    count = len(row.get("images") or ())
    if isinstance(picture, bool) or not isinstance(picture, int) or not 0 <= picture < max(count, 1):
        return f"is in picture {str(picture)[:20]}, and the row has {count}, counted from 0"
    if len(box) == 4 and (box[0] > box[2] or box[1] > box[3]):
        return f"{box}: its right or bottom edge comes before its left or top one"
    width, height = (1, 1) if kind == "norm1" else sizes[picture] if picture < len(sizes) else (0, 0)
    spare = 0 if kind == "norm1" else TOLERANCE_PIXELS
    inside = all(-spare <= edge <= limit + spare for edge, limit in zip(box, (width, height) * 2, strict=False))
    return "" if inside or not width else f"{box}: outside of the picture ({width} x {height})"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
