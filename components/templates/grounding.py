"""Boxes and references of a row's `objects`, as the texts of each family of models have them.

A text holds the tags `<ref-object>` and `<bbox>`, as in ms-swift. In order, they are replaced by what the family was
trained with: its own text round a reference and a box, and coordinates that are thousandths of the picture's sides, or
pixels of the picture as the model's processor resizes it.
"""

import math
import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from components.errors import DataGateError
from components.media import GoneError, MediaError, MediaProcessor, Medium
from components.rows import CONVERSATIONS, Message, Row
from components.templates.refused import Refused

NormBbox = Literal["norm1000", "none"]
BboxFormat = Literal["legacy", "new"]
TAGS = {"ref": "<ref-object>", "bbox": "<bbox>"}
"""List of `objects` to the tag that its values stand for."""
TAG = re.compile("|".join(TAGS.values()))
THOUSANDTHS = 1000
LAST_LOCATION = 999
"""Number of the last location token: Florence-2 has <loc_0> to <loc_999>."""


class Style(NamedTuple):
    """How a family writes.

    Attributes:
        reference: the text of a reference, whose name stands for `{ref}`.
        box: the text of a box: `{points}` are (x,y),(x,y), `{list}` is [x, y, x, y], `{locations}` a token each.
        norm_bbox: `norm1000` for thousandths, `none` for pixels of the picture after the processor's resize.
    """

    reference: str
    box: str
    norm_bbox: NormBbox = "norm1000"


DEFAULT = Style("{ref}", "[{points}]")
_QWEN = Style("<|object_ref_start|>{ref}<|object_ref_end|>", "<|box_start|>{points}<|box_end|>")
_QWEN_PIXELS = _QWEN._replace(norm_bbox="none")
_QWEN_NEW = Style("{ref}", "{list}")
_INTERN = Style("<ref>{ref}</ref>", "<box>[{list}]</box>")
STYLES = {
    "qwen": Style("<ref>{ref}</ref>", "<box>{points}</box>"),
    **dict.fromkeys(("qwen2_vl", "qwen3_vl", "qwen3_vl_moe", "qwen3_5", "qwen3_5_moe"), _QWEN),
    **dict.fromkeys(("qwen3_omni_moe", "qwen3_omni_moe_thinker"), _QWEN),
    **dict.fromkeys(("qwen2_5_vl", "qwen2_5_omni", "qwen2_5_omni_thinker", "mimo_v2"), _QWEN_PIXELS),
    **dict.fromkeys(("internvl", "internvl_chat", "interns1"), _INTERN),
    "florence2": Style("{ref}", "{locations}"),
}
"""The `model_type` of config.json to the family's style; any other has the default."""


class Box(NamedTuple):
    """A point or a box: x and y in turn, and the number of its picture."""

    edges: list[float]
    picture: int


class Objects(NamedTuple):
    """What the tags of a conversation's texts stand for, in order; `is_share` says that boxes are shares of 1."""

    references: list[str]
    boxes: list[Box]
    is_share: bool


class Grounding:
    """The style of a model.

    Args:
        model_type: of its config.json.
        norm_bbox: other coordinates than the family's.
        bbox_format: `new` writes the names and lists of the newer Qwen models, for families with special tokens.
    """

    def __init__(
        self, model_type: str = "", norm_bbox: NormBbox | None = None, bbox_format: BboxFormat = "legacy"
    ) -> None:
        style = STYLES.get(model_type, DEFAULT)
        if bbox_format == "new" and style in (_QWEN, _QWEN_PIXELS):
            style = _QWEN_NEW._replace(norm_bbox=style.norm_bbox)
        self.style = style._replace(norm_bbox=norm_bbox or style.norm_bbox)

    def written(
        self, messages: list[Message], objects: Objects, media: Sequence[Medium], processor: MediaProcessor | None
    ) -> list[Message]:
        """Return messages with the family's text for each tag.

        Args:
            messages: with as many tags as `objects_of` asks for.
            objects: of the messages.
            media: of the row.
            processor: of the model, None for a model of texts alone.

        Raises:
            Refused: a box is in a picture that the row does not have, or that cannot be read.
        """
        sizes: dict[int, tuple[tuple[int, int], tuple[int, int]]] = {}
        boxes: list[str] = []
        pictures = [medium for medium in media if medium.kind == "image"]
        for box in objects.boxes:
            if box.picture not in sizes:
                sizes[box.picture] = self._sizes(objects.is_share, pictures[box.picture : box.picture + 1], processor)
            boxes.append(self._box(box.edges, *sizes[box.picture]))
        references = [self.style.reference.format(ref=reference) for reference in objects.references]
        return _replaced(messages, references, boxes)

    def _sizes(
        self, is_share: bool, picture: Sequence[Medium], processor: MediaProcessor | None
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the width and height that boxes are given for, and those that they are written for."""
        thousandths = self.style.norm_bbox == "norm1000"
        if is_share and thousandths:
            return (1, 1), (THOUSANDTHS, THOUSANDTHS)
        if not picture or processor is None:
            raise Refused("a box is in a picture that the row does not have")
        try:
            size = (1, 1) if is_share else processor.picture_size(picture[0])
            return size, (THOUSANDTHS, THOUSANDTHS) if thousandths else processor.size_seen(picture[0])
        except GoneError as error:
            raise DataGateError(f"template: {error}") from None
        except MediaError as error:
            raise Refused("a medium cannot be used", str(error)) from error

    def _box(self, edges: list[float], before: tuple[int, int], after: tuple[int, int]) -> str:
        numbers = [round(edge / before[i % 2] * after[i % 2]) for i, edge in enumerate(edges)]
        points = ",".join(f"({x},{y})" for x, y in zip(numbers[::2], numbers[1::2], strict=True))
        locations = "".join(f"<loc_{min(number, LAST_LOCATION)}>" for number in numbers)
        return self.style.box.format(points=points, list=numbers, locations=locations)


def objects_of(objects: dict[str, Any], messages: list[Message]) -> Objects:
    """Return what the tags of messages stand for.

    Raises:
        Refused: the texts have other numbers of tags than there are objects, or a box is none.
    """
    if not all(isinstance(objects.get(name) or [], list) for name in (*TAGS, "image_id")):
        raise Refused("'ref', 'bbox' and 'image_id' of 'objects' must be lists")
    for name, tag in TAGS.items():
        count, values = sum(m["content"].count(tag) for m in messages), len(objects.get(name) or [])
        if count and count != values:
            raise Refused("the texts have other numbers of tags than 'objects' has values", f"{count} {tag}, {values}")
    boxes = objects.get("bbox") or []
    pictures = objects.get("image_id") or [0] * len(boxes)
    if wrong := [box for box in boxes if not _is_box(box)]:
        raise Refused("a box must be a list of two or four numbers", str(wrong[0])[:60])
    if len(pictures) != len(boxes) or not all(isinstance(number, int) and number >= 0 for number in pictures):
        raise Refused("'image_id' of 'objects' must have the number of a picture for each box")
    return Objects(
        objects.get("ref") or [],
        [Box(edges, picture) for edges, picture in zip(boxes, pictures, strict=True)],
        objects.get("bbox_type") == "norm1",
    )


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) in (2, 4) and all(map(_is_number, box))


def _is_number(edge: Any) -> bool:
    return isinstance(edge, int | float) and not isinstance(edge, bool) and math.isfinite(edge)


def of_answer(row: Row, name: str) -> dict[str, Any]:
    """Return a row's objects whose tags stand in its prompt, or in the answer in the column `name`."""
    objects = row["objects"]
    own_objects: dict[str, Any] = {}
    for column, tag in TAGS.items():
        owners = [c for c in CONVERSATIONS for m in row.get(c) or () for _ in range(m["content"].count(tag))]
        for values in ("bbox", "image_id") if column == "bbox" else (column,):
            every = objects.get(values) or []
            own = [value for owner, value in zip(owners, every, strict=False) if owner in ("prompt", name)]
            own_objects[values] = own if len(owners) == len(every) else every
    return objects | own_objects


def bare(messages: list[Message], objects: Objects) -> list[Message]:
    """Return messages with the names of the references, which are the row's own, and a word for each box."""
    return _replaced(messages, objects.references, ["box"] * len(objects.boxes))


def _replaced(messages: list[Message], references: list[str], boxes: list[str]) -> list[Message]:
    values = {TAGS["ref"]: iter(references), TAGS["bbox"]: iter(boxes)}
    return [m | {"content": TAG.sub(lambda match: next(values[match[0]]), m["content"])} for m in messages]
