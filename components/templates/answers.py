"""Which characters of an assistant's turn a model has to generate, read off renderings, for any template.

The turn is rendered as the last of its conversation. It starts where the generation prompt ends, and ends with the tag
that stops the model; sentinels round the assistant's own texts show that these are in the rendering, as they are. A
rendering that does not fit this picture to the last character is refused.
"""

import re
from typing import NamedTuple

from components.rows import Message
from components.templates.end_tags import QUESTION, EndTags, common_prefix
from components.templates.refused import Refused
from components.templates.renderer import Render, render_or_none, render_or_refuse
from components.templates.sentinels import Extent, SentinelMessage
from components.templates.thoughts import THOUGHT_TAGS

ANOTHER_PROMPT = "the generation prompt is not how the template begins this answer"
OPENING_TAG_REACH = 100
"""Characters before an answer in which a generation prompt may have opened its thought."""


class Answer(NamedTuple):
    """The text of a conversation up to its last turn, and the characters [start, end) of it that are learned.

    Attributes:
        tag: where the end tag begins.
        suffix: the end of `text` that the template leaves to the next turn to write.
        follows_prompt: `text` is the rendering with the generation prompt and behind it the answer as `suffix`, because
            the template changes the turns before an answer once the answer is there.
    """

    text: str
    start: int
    tag: int
    end: int
    suffix: str
    follows_prompt: bool = False


class AnswerReader:
    """Reads answers off the renderings of one template with one set of variables.

    Args:
        render: the template.
        added_token: matches any of the tokenizer's added tokens with the whitespace before.
        stops: the tokens that a served model is known to stop at.
    """

    def __init__(self, render: Render, added_token: re.Pattern[str], stops: frozenset[str]) -> None:
        self.render, self.added_token = render, added_token
        self.end_tags = EndTags(render, added_token, stops)

    def read(self, messages: list[Message]) -> Answer:
        """Return the answer that the last message, an assistant's, is.

        Raises:
            Refused: its place in the rendering cannot be proved.
        """
        *history, message = messages
        sentinels = SentinelMessage(message)
        if not sentinels.texts:
            raise Refused("an assistant's text is empty")
        text = render_or_refuse(self.render, messages)
        extent = sentinels.extent(render_or_refuse(self.render, [*history, sentinels.message]))
        if extent.text != text:
            raise Refused("the template rewrites an assistant's text")
        has_thought = sentinels.has("thought")
        start, prompt = self._start(history, text, extent.start, has_thought), ""
        if start is None:
            start, prompt = self._start_behind_header(history, message, text, extent)
        if has_thought and _thinks_twice(text[max(0, start - OPENING_TAG_REACH) : start], text[start : extent.start]):
            raise Refused(
                "the template does not read the thought in an assistant's text", "give it as reasoning_content"
            )
        tag = self.end_tags.find(history, message, text, start, extent)
        if not prompt:
            return Answer(text + tag.suffix, start, tag.start, tag.end, tag.suffix)
        answer, shift = (text + tag.suffix)[start : tag.end], len(prompt) - start
        return Answer(prompt + answer, len(prompt), tag.start + shift, tag.end + shift, answer, follows_prompt=True)

    def _start(self, history: list[Message], text: str, texts_start: int, has_thought: bool) -> int | None:
        """Return the offset where generation starts, or None if the generation prompt is not a prefix of the rendering.

        Args:
            history: the messages before the answer.
            text: the rendering with the answer.
            texts_start: the offset of the assistant's own texts.
            has_thought: the answer has a thought.
        """
        if not history:
            return None
        prompt = render_or_none(self.render, history, add_generation_prompt=True)
        without_prompt = render_or_none(self.render, history)
        if prompt is None:
            raise Refused("the template does not say how it asks for this answer")
        if text.startswith(prompt) and len(prompt) <= texts_start:
            if prompt != without_prompt or not text[len(prompt) : texts_start].strip():
                return len(prompt)
            return self._header_end(history, text, len(prompt), texts_start)
        # A generation prompt may open a thought that an answer without a thought does not have, or closes at once.
        shared = min(self._shared(prompt, text), texts_start)
        only_in_prompt = self.added_token.sub("", prompt[shared:])
        if without_prompt is not None and shared >= len(without_prompt) and not has_thought:
            return None if only_in_prompt.strip() else shared
        return None

    def _header_end(self, history: list[Message], text: str, header_start: int, texts_start: int) -> int:
        """Return the offset behind the header of an answer, for a template that writes no generation prompt."""
        other = render_or_none(self.render, [*history, {"role": "assistant", "content": "\ue002"}]) or ""
        header_end = min(texts_start, len(common_prefix(text, other)))
        return header_end if text[header_start:header_end].strip() else header_start  # a space is the model's

    def _start_behind_header(
        self, history: list[Message], message: Message, text: str, extent: Extent
    ) -> tuple[int, str]:
        """Return the offset where generation starts, as the header before the answer tells, and the generation prompt.

        The header, and what the model writes between the header and its own texts, are those of the same message as
        the answer to a question.

        Raises:
            Refused: the header is not in the rendering, or not at the end of the generation prompt.
        """
        question = render_or_none(self.render, [QUESTION])
        if history == [QUESTION] or question is None:
            raise Refused(ANOTHER_PROMPT)
        answer, sentinels = self.read([QUESTION, message]), SentinelMessage(message)
        texts_start = sentinels.extent(render_or_refuse(self.render, [QUESTION, sentinels.message])).start
        header = answer.text[self._shared(answer.text, question) : answer.start]
        lead = answer.text[answer.start : texts_start]
        if answer.follows_prompt or (history and not header.strip()):
            raise Refused(ANOTHER_PROMPT)
        header = header if history else header.lstrip()
        lead = lead if text[: extent.start].endswith(header + lead) else ""
        start = extent.start - len(lead)
        prompt = (render_or_none(self.render, history, add_generation_prompt=True) or "") if history else ""
        if not text[:start].endswith(header) or (history and not prompt.endswith(header)):
            raise Refused(ANOTHER_PROMPT)
        return start, prompt

    def _shared(self, text: str, other: str) -> int:
        """Return how many characters two texts have in common before the first token of `text` that differs."""
        shared = len(common_prefix(text, other))
        for token in self.added_token.finditer(text):
            token_start = token.end() - len(token.group().lstrip())
            if token_start < shared < token.end():
                return token_start
        return shared


def _thinks_twice(prompt: str, lead: str) -> bool:
    """Return whether a thought is closed before the answer's own begins, or opened twice.

    Args:
        prompt: the last characters before the answer.
        lead: what the model writes before its own texts.
    """
    for opening, closing in THOUGHT_TAGS:
        opened = lead.count(opening) + prompt.rstrip().endswith(opening)
        if opened > 1 or closing in lead:
            return True
    return False
