"""The token that ends an assistant's turn in a rendering."""

import re
from typing import NamedTuple

from components.rows import Message
from components.templates.refused import Refused
from components.templates.renderer import Render, render_or_none, render_or_refuse
from components.templates.sentinels import Extent, SentinelMessage, with_last_text, without_sentinels
from components.templates.thoughts import THOUGHT_TAG

QUESTION: Message = {"role": "user", "content": "?"}
"""What goes before an answer, or behind one, to see how the template writes it."""


class EndTag(NamedTuple):
    """The characters [start, end) of a rendering with `suffix` from `start` on; `suffix` is empty where the template
    writes the end tag itself."""

    start: int
    end: int
    suffix: str


class EndTags:
    """Finds end tags in the renderings of one template; arguments as `AnswerReader`."""

    def __init__(self, render: Render, added_token: re.Pattern[str], stops: frozenset[str], suffix: str | None) -> None:
        self.render, self.added_token, self.stops, self.suffix = render, added_token, stops, suffix

    def find(self, history: list[Message], message: Message, text: str, start: int, extent: Extent) -> EndTag:
        """Return the end tag of an answer: a token at which the model is known to stop, else the added token that the
        template writes behind the answer whatever follows, else the header of the next turn.

        Args:
            history: the messages before the answer.
            message: the assistant's.
            text: the rendering of both.
            start: where the answer starts in `text`.
            extent: where the assistant's texts are in `text`.

        Raises:
            Refused: there is none, or other text stands between the answer and the tag.
        """
        has_calls = bool(message.get("tool_calls"))
        probe = with_last_text(message) if has_calls else message
        sentinels = SentinelMessage(probe)
        if probe is not message:
            extent = sentinels.extent(render_or_refuse(self.render, [*history, sentinels.message]))
        answer, tail = extent.text[start : extent.end], extent.text[extent.end :]
        candidates = self._candidates(answer, tail)
        continuations: list[str] = []
        if not candidates or not self._is_stop(candidates[0]):
            continuations = self._continuations(history, sentinels, extent)
        lasting = self._candidates(answer, common_prefix(tail, *continuations)) if continuations else []
        tag = next(filter(self._is_stop, lasting), None) or (lasting[-1] if lasting else None)
        tag = tag or next(filter(self._is_stop, candidates), None) or (candidates[0] if candidates else None)
        between = tail if tag is None else tail[: tag.start()]
        if not has_calls and self.added_token.sub("", between).strip():
            raise Refused("the template writes something else between an answer and its end", repr(tail[:80]))
        if tag:
            if not text.endswith(tail[tag.start() :]):
                raise Refused("the template ends a turn otherwise after other calls")
            tail_start = len(text) - len(tail)
            return EndTag(tail_start + tag.start(), tail_start + tag.end(), "")
        for continuation in continuations:
            header = self.added_token.match(continuation, len(tail)) if continuation.startswith(tail) else None
            if header and self._is_stop(header):
                return EndTag(len(text), len(text) + len(header.group()), header.group())
        if self.suffix:
            end = len(text) - len(tail)
            return EndTag(end, end + len(self.suffix), self.suffix)
        raise Refused(
            "the template writes no token that ends an assistant's turn",
            "and the model's generation_config.json does not say that it stops at the next turn's header; "
            "--response_suffix names a token to put there",
        )

    def _is_stop(self, tag: re.Match[str]) -> bool:
        """Return whether the model is known to stop at this token."""
        return tag.group().lstrip() in self.stops

    def _candidates(self, answer: str, tail: str) -> list[re.Match[str]]:
        """Return the tokens of `tail` that may end the turn: stop tokens, and those that close nothing in `answer`."""
        stems = {_stem(tag.group()) for tag in self.added_token.finditer(answer)}
        return [
            tag
            for tag in self.added_token.finditer(tail)
            if self._is_stop(tag) or (_stem(tag.group()) not in stems and not THOUGHT_TAG.search(tag.group()))
        ]

    def _continuations(self, history: list[Message], sentinels: SentinelMessage, extent: Extent) -> list[str]:
        """Return what the template writes behind the assistant's texts when another turn follows.

        After calls the results follow, else a question; empty where the template refuses or hides the texts.
        """
        following = [QUESTION]
        if calls := sentinels.message.get("tool_calls"):
            ids = [{"tool_call_id": call["id"]} if "id" in call else {} for call in calls]
            names = [without_sentinels(call["function"]["name"])[0] for call in calls]
            following = [
                {"role": "tool", "content": "1", "name": name, **call_id}
                for call_id, name in zip(ids, names, strict=True)
            ]
        rendering = render_or_none(self.render, [*history, sentinels.message, *following])
        rest = None if rendering is None else sentinels.rest(rendering, extent.text[: extent.end])
        return [] if rest is None else [rest]


def common_prefix(*texts: str) -> str:
    """Return the longest text with which all the texts begin."""
    low, high = min(texts), max(texts)
    length = next((n for n, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), len(low))
    return low[:length]


def common_suffix(text: str, other: str) -> str:
    """Return the longest text with which both texts end."""
    return common_prefix(text[::-1], other[::-1])[::-1]


def _stem(tag: str) -> str:
    """Return what a pair of tags has in common: `toolcall` for `<tool_call>` and `</tool_call>`."""
    return re.sub(r"begin|start|end|[\W_▁]", "", tag.lower())
