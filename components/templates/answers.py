"""Which characters of one assistant's turn a model has to generate, found by rendering, for any template.

The turn is rendered as the last of its conversation. It begins where the generation prompt ends and ends with the
tag that stops the model; marks round the assistant's own texts show that these are there, as they are. What does not
fit this picture to the last character is refused.
"""

import re
from typing import NamedTuple

from components.rows import Message
from components.templates.marks import THOUGHT_TAG, THOUGHT_TAGS, Marked
from components.templates.refused import Refused
from components.templates.render import Render

MEMORY = 100
"""Characters before an answer in which a generation prompt may have opened its thought."""


class Answer(NamedTuple):
    """The text of a conversation up to its last turn, and the characters [start, end) of it that are learned."""

    text: str
    start: int
    tag: int
    """Where the end tag begins."""
    end: int
    suffix: str
    """The end of `text` that the template leaves to the next turn to write."""


class Reader:
    """Reads answers from one template with one set of variables.

    Args:
        render: the template.
        added: the tokenizer's added tokens, of which one has to end a turn.
        stops: the tokens that a served model is known to stop at.
    """

    def __init__(self, render: Render, added: re.Pattern[str], stops: frozenset[str]) -> None:
        self.render, self.added, self.stops = render, added, stops
        self._tags: dict[tuple[str, bool], tuple[int, int, str]] = {}

    def read(self, messages: list[Message]) -> Answer:
        """What is learned of the last message, an assistant's.

        Raises:
            Refused: it cannot be said exactly.
        """
        *before, message = messages
        marked = Marked(message)
        if not marked:
            raise Refused("an assistant's text is empty")
        text = rendered(self.render, messages)
        found = marked.find(rendered(self.render, [*before, marked.message]))
        if found.text != text:
            raise Refused("the template rewrites an assistant's text")
        thinks = marked.has("thought")
        start = self._start(before, text, found.start, thinks)
        if thinks and _thinks_twice(text[max(0, start - MEMORY) : start], text[start : found.start]):
            raise Refused(
                "the template does not read the thought in an assistant's text", "give it as reasoning_content"
            )
        tag, end, suffix = self._tag(text[start : found.end], text[found.end :], messages, marked)
        return Answer(text + suffix, start, found.end + tag, found.end + end, suffix)

    def _start(self, before: list[Message], text: str, own: int, thinks: bool) -> int:
        """Where the model begins to write; `own` is where the assistant's own texts begin."""
        prompt = attempt(self.render, before, add_generation_prompt=True)
        bare = attempt(self.render, before) if before else ""
        if prompt is not None and text.startswith(prompt) and len(prompt) <= own:
            lead = text[len(prompt) : own]
            if prompt != bare or not lead.strip():
                return len(prompt)
            # Without a generation prompt the template writes the header with the answer.
            plain = attempt(self.render, [*before, {"role": "assistant", "content": "\ue002"}]) or ""
            header = min(own, len(_common(text, plain)))
            return header if text[len(prompt) : header].strip() else len(prompt)  # a space is the model's
        if prompt is None or not before:
            if before:
                raise Refused("the template does not say how it asks for this answer")
            return own
        # A generation prompt that opens a thought is not there in an answer without one, or closed at once.
        shared = min(len(_common(text, prompt)), own)
        unasked = self.added.sub("", prompt[shared:])
        if bare is not None and shared >= len(bare) and not thinks and not unasked.strip():
            return shared
        raise Refused("the template asks for an answer otherwise than it writes it")

    def _tag(self, own: str, tail: str, messages: list[Message], marked: Marked) -> tuple[int, int, str]:
        """Where the end tag begins and ends in what follows the assistant's texts, and what is to be added for it."""
        calls = marked.has("call")
        key = (tail, calls)
        if key not in self._tags:
            self._tags[key] = self._read_tag(own, tail, self._followed(messages, marked), calls)
        return self._tags[key]

    def _read_tag(self, own: str, tail: str, followed: list[str], calls: bool) -> tuple[int, int, str]:
        shared = _common(tail, *followed) if followed else ""
        tag = self._end_tag(own, shared, last=True) or self._end_tag(own, tail, last=False)
        between = tail if tag is None else tail[: tag.start()]
        if not calls and self.added.sub("", between).strip():
            raise Refused("the template writes something else between an answer and its end", repr(tail[:80]))
        if tag:
            return tag.start(), tag.end(), ""
        for text in followed:
            header = self.added.match(text, len(tail)) if text.startswith(tail) else None
            if header and header.group().lstrip() in self.stops:
                return len(tail), len(tail) + len(header.group()), header.group()
        raise Refused(
            "the template writes no token that ends an assistant's turn",
            "and the model's generation_config.json does not say that it stops at the next turn's header",
        )

    def _end_tag(self, own: str, tail: str, last: bool) -> re.Match[str] | None:
        """The token that a model is known to stop at; else the last or first one, if it closes nothing in the turn."""
        tags = list(self.added.finditer(tail))
        known = next((tag for tag in tags if tag.group().lstrip() in self.stops), None)
        opened = {_stem(tag.group()) for tag in self.added.finditer(own)}
        free = [tag for tag in tags if _stem(tag.group()) not in opened and not THOUGHT_TAG.search(tag.group())]
        return known or (free[-1 if last else 0] if free else None)

    def _followed(self, messages: list[Message], marked: Marked) -> list[str]:
        """What follows the assistant's texts when the conversation goes on."""
        own = [*messages[:-1], marked.message]
        if calls := messages[-1].get("tool_calls"):
            ids = [{"tool_call_id": call["id"]} if "id" in call else {} for call in calls]
            names = [call["function"]["name"] for call in calls]
            results = zip(ids, names, strict=True)
            nexts = [[{"role": "tool", "content": "1", "name": name, **known} for known, name in results]]
        else:
            nexts = [[{"role": "user", "content": "?"}]]
        texts = [attempt(self.render, [*own, *following]) for following in nexts]
        return [after for text in texts if text is not None and (after := marked.last(text)) is not None]


def rendered(render: Render, messages: list[Message]) -> str:
    """Render. Raises Refused where the template refuses the conversation."""
    try:
        return render(messages)
    except Exception as error:  # a template raises what its author likes
        raise Refused("the template refuses the conversation", str(error)) from error


def attempt(render: Render, messages: list[Message], **options: bool) -> str | None:
    """Render, or None where the template refuses (many want a user's turn first)."""
    try:
        return render(messages, **options)
    except Exception:
        return None


def _thinks_twice(asked: str, lead: str) -> bool:
    """Whether a thought is closed before the answer's own begins, or opened twice."""
    for opening, closing in THOUGHT_TAGS:
        opened = lead.count(opening) + asked.rstrip().endswith(opening)
        if opened > 1 or closing in lead:
            return True
    return False


def _common(*texts: str) -> str:
    """What the texts begin with, all of them."""
    low, high = min(texts), max(texts)
    n = next((n for n, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return low[:n]


def _stem(tag: str) -> str:
    """What a pair of tags has in common: `<tool_call>` and `</tool_call>`, `<|calls_begin|>` and `<|calls_end|>`."""
    return re.sub(r"begin|start|end|[\W_▁]", "", tag.lower())
