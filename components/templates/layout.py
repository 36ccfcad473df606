"""How a template lays out conversations of given shapes, learned once by rendering marks in place of the texts.

Private-use characters stand for each text, so that the rendering splits into the template's own text and the places
(slots) of the row's. A real row is then rendered once: when the layout, filled with the row's texts,
is that rendering to the last character, every assistant's span in it is known exactly, and otherwise nothing is.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from components.rows import Message
from components.templates.answers import Answer, Reader, attempt
from components.templates.marks import THOUGHT_TAG
from components.templates.refused import Refused
from components.templates.render import Render
from components.templates.render import Span as Span
from components.templates.slots import Shape, message_of

MARK = re.compile("\ue002([0-9]+)\ue003")
LEFT, RIGHT = "\n\v", "\f\n"
"""Whitespace round the marks in a second rendering: what is left of it tells how the template trims."""


class Trim(NamedTuple):
    """What the template strips from a content's sides: nothing (""), these characters, or all whitespace (None)."""

    left: str | None = ""
    right: str | None = ""

    def __call__(self, text: str) -> str:
        return text.lstrip(self.left).rstrip(self.right)


class Turn(NamedTuple):
    """An answer's slots, the first and the last, and what is learned round them: so many characters before the first,
    after the last, and of these its end tag."""

    first: int
    last: int
    lead: int
    tail: int
    tag: int


@dataclass(frozen=True)
class Layout:
    """The template's text before, between and after the texts of a conversation that ends with an answer."""

    pieces: list[str]
    order: list[int]
    """Which slot's text follows each piece but the last."""
    trims: list[Trim] | None
    """By slot; None where nothing is trimmed."""
    turns: dict[int, Turn]
    """By message, the answers that stand here as when they were the last message, the last one among them."""
    suffix: str
    thinks: bool
    """The template has a place for thoughts, so that an answer with one is laid out otherwise."""

    def trimmed(self, texts: list[str]) -> list[str]:
        """The texts as the template trims them."""
        return texts if self.trims is None else [trim(text) for trim, text in zip(self.trims, texts, strict=True)]

    def fill(self, texts: list[str]) -> str:
        """The rendering that this layout foretells."""
        parts = [self.pieces[0]]
        for slot, piece in zip(self.order, self.pieces[1:], strict=True):
            parts += (texts[slot], piece)
        return "".join(parts)

    def answers(self, texts: list[str], text: str) -> dict[int, Answer]:
        """The answers in the filled layout, by message."""
        places, position = {}, len(self.pieces[0])
        for slot, piece in zip(self.order, self.pieces[1:], strict=True):
            end = position + len(texts[slot])
            places.setdefault(slot, (position, end))  # what a later turn quotes is no answer
            position = end + len(piece)
        found = {}
        for i, turn in self.turns.items():
            stop = places[turn.last][1] + turn.tail
            found[i] = Answer(text, places[turn.first][0] - turn.lead, stop - turn.tag, stop, self.suffix)
        return found


def read_layout(reader: Reader, shapes: Sequence[Shape]) -> Layout:
    """Learn the layout of a conversation of `shapes`, the last of which is an assistant's.

    Raises:
        Refused: the last answer cannot be learned, or a message is not there.
    """
    probe, ends = _probe(shapes)
    last = reader.read(probe)
    if last.asked:
        raise Refused("the template shows the turns before an answer otherwise once it is there")
    parts = MARK.split(last.text)
    pieces, order = parts[::2], [int(slot) for slot in parts[1::2]]
    for shape, (_, end) in zip(shapes, ends, strict=True):
        if end not in order:  # an earlier thought may well be missing
            raise Refused("the template leaves out a message's text", f"the {shape[0]}'s")
    turns = {}
    for i, (first, end) in enumerate(ends):
        if shapes[i][0] == "assistant" and (answer := _stable(reader, probe[: i + 1], last)):
            begins, stops = answer.text.index(_mark(first)), answer.text.index(_mark(end)) + len(_mark(end))
            turns[i] = Turn(first, end, begins - answer.start, answer.end - stops, answer.end - answer.tag)
    asked = attempt(reader.render, probe[:-1], add_generation_prompt=True) or ""
    thinks = THOUGHT_TAG.search(last.text + asked) is not None
    own = [*pieces[:-1], pieces[-1].removesuffix(last.suffix)]
    return Layout(pieces, order, _trims(reader.render, shapes, own, order), turns, last.suffix, thinks)


def mark(roles: Sequence[str]) -> list[Message]:
    """A conversation of `roles` with marks for contents."""
    return _probe([(role,) for role in roles])[0]


def _probe(shapes: Sequence[Shape], before: str = "", after: str = "") -> tuple[list[Message], list[tuple[int, int]]]:
    """Messages with marks for texts, `before` and `after` round each mark, and the first and last slot of each."""
    messages, ends, slot = [], [], 0
    for shape in shapes:
        count = 1 if len(shape) == 1 else 2
        messages.append(message_of(shape, [f"{before}{_mark(n)}{after}" for n in range(slot, slot + count)]))
        ends.append((slot, slot + count - 1))
        slot += count
    return messages, ends


def _mark(slot: int) -> str:
    return f"\ue002{slot}\ue003"


def _stable(reader: Reader, messages: list[Message], last: Answer) -> Answer | None:
    try:
        answer = reader.read(messages)
    except Refused:
        return None
    return answer if last.text.startswith(answer.text[: answer.end]) else None


def _trims(render: Render, shapes: Sequence[Shape], pieces: list[str], order: list[int]) -> list[Trim] | None:
    padded, ends = _probe(shapes, LEFT, RIGHT)
    parts = MARK.split(attempt(render, padded) or "")
    if [int(slot) for slot in parts[1::2]] != order:
        return None
    lefts = {LEFT: "", LEFT[1:]: "\n", "": None}
    rights = {RIGHT: "", RIGHT[:-1]: "\n", "": None}
    sides: list[list[str | None]] = [["", ""] for _ in range(ends[-1][1] + 1)]
    for n, (piece, part) in enumerate(zip(pieces, parts[::2], strict=True)):
        kept = [(right, left) for right in rights for left in lefts if part == right + piece + left]
        if n > 0:
            sides[order[n - 1]][1] = rights[kept[0][0]] if kept else ""
        if n < len(order):
            sides[order[n]][0] = lefts[kept[0][1]] if kept else ""
    trims = [Trim(*side) for side in sides]
    return None if all(trim == Trim() for trim in trims) else trims
