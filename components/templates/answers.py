"""Which characters of one assistant's turn a model has to generate, found by rendering, for any template.

The turn is rendered as the last of its conversation. It begins where the generation prompt ends and ends with the
tag that stops the model; marks round the assistant's own texts show that these are there, as they are. What does not
fit this picture to the last character is refused.
"""

import re
from typing import NamedTuple

from components.rows import Message
from components.templates.marks import THOUGHT_TAG, THOUGHT_TAGS, Found, Marked, unmarked, with_last_text
from components.templates.refused import Refused
from components.templates.render import Render

QUESTION: Message = {"role": "user", "content": "?"}
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
    asked: bool = False
    """`text` is what was asked, with the whole answer as `suffix`: the template shows the turns before an answer
    otherwise once it is there."""


class Reader:
    """Reads answers from one template with one set of variables.

    Args:
        render: the template.
        added: the tokenizer's added tokens, of which one has to end a turn.
        stops: the tokens that a served model is known to stop at.
    """

    def __init__(self, render: Render, added: re.Pattern[str], stops: frozenset[str]) -> None:
        self.render, self.added, self.stops = render, added, stops

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
        start, asked = self._start(before, text, found.start, thinks), ""
        if start is None:
            header, lead = self._headed(before, message, text[: found.start])
            start = found.start - len(lead)
            asked = attempt(self.render, before, add_generation_prompt=True) or "" if before else ""
            if not text[:start].endswith(header) or (before and not asked.endswith(header)):
                raise Refused("the template asks for an answer otherwise than it writes it")
        if thinks and _thinks_twice(text[max(0, start - MEMORY) : start], text[start : found.start]):
            raise Refused(
                "the template does not read the thought in an assistant's text", "give it as reasoning_content"
            )
        tag, end, suffix = self._tag(before, message, text, start, found)
        if not asked:
            return Answer(text + suffix, start, tag, end, suffix)
        own, moved = (text + suffix)[start:end], len(asked) - start
        return Answer(asked + own, len(asked), tag + moved, end + moved, own, asked=True)

    def _start(self, before: list[Message], text: str, own: int, thinks: bool) -> int | None:
        """Where the model begins to write, None where what is asked is not there; `own` is where the assistant's own
        texts begin."""
        if not before:
            return None
        prompt, bare = attempt(self.render, before, add_generation_prompt=True), attempt(self.render, before)
        if prompt is None:
            raise Refused("the template does not say how it asks for this answer")
        if text.startswith(prompt) and len(prompt) <= own:
            lead = text[len(prompt) : own]
            if prompt != bare or not lead.strip():
                return len(prompt)
            # Without a generation prompt the template writes the header with the answer.
            plain = attempt(self.render, [*before, {"role": "assistant", "content": "\ue002"}]) or ""
            header = min(own, len(_common(text, plain)))
            return header if text[len(prompt) : header].strip() else len(prompt)  # a space is the model's
        # A generation prompt that opens a thought is not there in an answer without one, or closed at once.
        shared = min(self._shared(prompt, text), own)
        unasked = self.added.sub("", prompt[shared:])
        if bare is not None and shared >= len(bare) and not thinks and not unasked.strip():
            return shared
        return None

    def _headed(self, before: list[Message], message: Message, head: str) -> tuple[str, str]:
        """What asks for the answer at the end of `head`, and what the model writes there before its own texts, as they
        are when the message answers a question.

        Raises:
            Refused: it cannot be said.
        """
        refused = Refused("the template asks for an answer otherwise than it writes it")
        bare = attempt(self.render, [QUESTION])
        if before == [QUESTION] or bare is None:
            raise refused
        answer, marked = self.read([QUESTION, message]), Marked(message)
        own = marked.find(rendered(self.render, [QUESTION, marked.message])).start
        header = answer.text[self._shared(answer.text, bare) : answer.start]
        lead = answer.text[answer.start : own]
        if answer.asked or (before and not header.strip()):
            raise refused
        header = header if before else header.lstrip()
        return header, lead if head.endswith(header + lead) else ""

    def _shared(self, text: str, other: str) -> int:
        """How much the two texts have in common before the first token that differs."""
        shared = len(_common(text, other))
        for token in self.added.finditer(text):
            if token.end() - len(token.group().lstrip()) < shared < token.end():
                return token.end() - len(token.group().lstrip())
        return shared

    def _tag(
        self, before: list[Message], message: Message, text: str, start: int, found: Found
    ) -> tuple[int, int, str]:
        """Where in the text the end tag begins and ends, and what is to be added to the text for it."""
        calls = bool(message.get("tool_calls"))
        last = with_last_text(message) if calls else message
        marked = Marked(last)
        if last is not message:
            found = marked.find(rendered(self.render, [*before, marked.message]))
        own, tail = found.text[start : found.end], found.text[found.end :]
        tags = self._ends(own, tail)
        sure = bool(tags) and self._known(tags[0])
        followed = [] if sure else self._followed(before, marked, found)
        shared = self._ends(own, _common(tail, *followed)) if followed else []
        tag = next(filter(self._known, shared), None) or (shared[-1] if shared else None)
        tag = tag or next(filter(self._known, tags), None) or (tags[0] if tags else None)
        between = tail if tag is None else tail[: tag.start()]
        if not calls and self.added.sub("", between).strip():
            raise Refused("the template writes something else between an answer and its end", repr(tail[:80]))
        moved = len(text) - len(tail)
        if tag:
            if not text.endswith(tail[tag.start() :]):
                raise Refused("the template ends a turn otherwise after other calls")
            return moved + tag.start(), moved + tag.end(), ""
        for after in followed:
            header = self.added.match(after, len(tail)) if after.startswith(tail) else None
            if header and header.group().lstrip() in self.stops:
                return len(text), len(text) + len(header.group()), header.group()
        raise Refused(
            "the template writes no token that ends an assistant's turn",
            "and the model's generation_config.json does not say that it stops at the next turn's header",
        )

    def _known(self, tag: re.Match[str]) -> bool:
        """Whether the model is known to stop at this token."""
        return tag.group().lstrip() in self.stops

    def _ends(self, own: str, tail: str) -> list[re.Match[str]]:
        """The tokens that may end the turn: known ones, and those that close nothing in it."""
        opened = {_stem(tag.group()) for tag in self.added.finditer(own)}
        return [
            tag
            for tag in self.added.finditer(tail)
            if self._known(tag) or (_stem(tag.group()) not in opened and not THOUGHT_TAG.search(tag.group()))
        ]

    def _followed(self, before: list[Message], marked: Marked, found: Found) -> list[str]:
        """What follows the assistant's texts when the conversation goes on."""
        if calls := marked.message.get("tool_calls"):
            ids = [{"tool_call_id": call["id"]} if "id" in call else {} for call in calls]
            names = [unmarked(call["function"]["name"])[0] for call in calls]
            results = zip(ids, names, strict=True)
            nexts = [[{"role": "tool", "content": "1", "name": name, **known} for known, name in results]]
        else:
            nexts = [[QUESTION]]
        texts = [attempt(self.render, [*before, marked.message, *following]) for following in nexts]
        own = found.text[: found.end]
        return [after for text in texts if text is not None and (after := marked.after(text, own)) is not None]


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
