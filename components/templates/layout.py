"""How a template lays out a conversation of given roles, learned by rendering marks in place of the texts.

Private-use characters stand for each message's content, so that the rendering splits into the template's own text
and the places of the contents. A real row is then rendered once: when the layout, filled with the row's contents,
is that rendering to the last character, every assistant's span in it is known exactly, and otherwise nothing is.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

Message = dict[str, str]
Span = tuple[int, int]

MARK = re.compile("\ue000([0-9]+)\ue001")
LEFT, RIGHT = "\n\v", "\f\n"
"""Whitespace round the marks in a second rendering: what is left of it tells how the template trims."""


class Trim(NamedTuple):
    """What the template strips from a content's sides: nothing (""), these characters, or all whitespace (None)."""

    left: str | None = ""
    right: str | None = ""

    def __call__(self, text: str) -> str:
        return text.lstrip(self.left).rstrip(self.right)


class Turn(NamedTuple):
    """What is learned around an assistant's text: the template's own text after the generation prompt, and the tag."""

    lead: str
    tail: str


@dataclass(frozen=True)
class Layout:
    """The template's text before, between and after the contents of a conversation with certain roles."""

    pieces: list[str]
    order: list[int]
    """Which message's content follows each piece but the last."""
    trims: dict[int, Trim]
    answers: list[int]
    """The assistant's messages that are to be learned."""
    turns: dict[int, Turn]
    """Those of them that can be, from this rendering."""
    stable: bool
    """False when an answer cannot be, or is rendered otherwise than when it was the last message."""

    def contents(self, messages: list[Message]) -> list[str]:
        """The contents as the template trims them."""
        return [self.trims.get(i, Trim())(message["content"]) for i, message in enumerate(messages)]

    def fill(self, contents: list[str]) -> str:
        """The rendering that this layout foretells."""
        parts = [self.pieces[0]]
        for i, piece in zip(self.order, self.pieces[1:], strict=True):
            parts += (contents[i], piece)
        return "".join(parts)

    def spans(self, contents: list[str]) -> dict[int, Span]:
        """Characters [start, end) of the filled layout that are learned, by message."""
        spans, position = {}, len(self.pieces[0])
        for i, piece in zip(self.order, self.pieces[1:], strict=True):
            end = position + len(contents[i])
            if turn := self.turns.get(i):
                spans[i] = (position - len(turn.lead), end + len(turn.tail))
            position = end + len(piece)
        return spans

    def after(self) -> str:
        """What the template writes after the last turn's end tag."""
        last = max(self.turns)
        return self.pieces[-1][len(self.turns[last].tail) :]


Render = Callable[..., str]


def read_layout(render: Render, roles: Iterable[str], end_tag: re.Pattern[str], authored: Callable) -> Layout:
    """Learn the layout of `roles`.

    Args:
        render: `(messages, add_generation_prompt=False) -> str`; may raise what the template raises.
        end_tag: matches a token that can end a turn, with the whitespace before it.
        authored: `(messages) -> list of character spans` in the template's own `{% generation %}` blocks, or None
            where it has none. A turn outside of them is not learned.
    """
    probe = [{"role": role, "content": f"\ue000{i}\ue001"} for i, role in enumerate(roles)]
    text = render(probe)
    parts = MARK.split(text)
    pieces, order = parts[::2], [int(i) for i in parts[1::2]]
    blocks = authored(probe)
    answers, turns, stable = [], {}, True
    for i, message in enumerate(probe):
        at = text.find(message["content"])
        if message["role"] != "assistant" or (blocks is not None and not any(a <= at < b for a, b in blocks)):
            continue
        answers.append(i)
        answered = attempt(render, probe[: i + 1]) or ""
        after = pieces[order.index(i) + 1] if order.count(i) == 1 else ""
        tag = end_tag.match(after)
        lead = _lead(render, probe[:i], text[:at])
        if tag and lead is not None and answered.partition(message["content"])[2].startswith(tag.group()):
            turns[i] = Turn(lead, tag.group())
        end = at + len(message["content"]) + (tag.end() if tag else 0)
        stable = stable and i in turns and answered[:end] == text[:end]
    return Layout(pieces, order, _trims(render, probe, order), answers, turns, stable)


def _lead(render: Render, before: list[Message], text: str) -> str | None:
    """The end of `text` (all before an answer) that comes after the generation prompt, so that the model writes it.

    None where `text` is not how the template asks for this answer.
    """
    bare, prompt = attempt(render, before), attempt(render, before, add_generation_prompt=True)
    if prompt is not None and text.startswith(prompt):
        lead = text[len(prompt) :]
        # A template without a generation prompt writes the header with the answer: a space after it is the model's.
        return lead if prompt != bare or lead.isspace() else ""
    # A generation prompt that opens a thought is not there in an answer without one; an answer may stand first.
    return "" if bare is None or text.startswith(bare) else None


def _trims(render: Render, probe: list[Message], order: list[int]) -> dict[int, Trim]:
    padded = [{**message, "content": f"{LEFT}{message['content']}{RIGHT}"} for message in probe]
    parts = MARK.split(attempt(render, padded) or "")
    if [int(i) for i in parts[1::2]] != order:
        return {}
    left = {LEFT: "", LEFT[1:]: "\n", "": None}
    right = {RIGHT: "", RIGHT[:-1]: "\n", "": None}
    trims = {}
    for n, i in enumerate(order):
        before, after = parts[2 * n], parts[2 * n + 2]
        trims[i] = Trim(
            next(chars for kept, chars in left.items() if before.endswith(kept)),
            next(chars for kept, chars in right.items() if after.startswith(kept)),
        )
    return trims


def attempt(render: Render, messages: list[Message], **options: bool) -> str | None:
    """Render, or None where the template refuses (many want a user's turn first)."""
    try:
        return render(messages, **options)
    except Exception:
        return None
