"""Which characters of an assistant's turn a model has to generate, read off renderings, for any template.

The turn is rendered as the last of its conversation. It starts where the generation prompt ends, and ends with the tag
that stops the model; sentinels round the assistant's own texts show that these are in the rendering, as they are. A
rendering that does not fit this picture to the last character is refused.
"""

import re
from typing import NamedTuple

from components.rows import Message
from components.templates.end_tags import QUESTION, EndTags, common_prefix, common_suffix
from components.templates.message_shape import THOUGHT_FIELD
from components.templates.refused import Refused
from components.templates.renderer import Render, render_or_none, render_or_refuse
from components.templates.sentinels import Extent, SentinelMessage
from components.templates.thoughts import THOUGHT_OPENINGS, THOUGHT_TAG, THOUGHT_TAGS, inline_thought

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
        suffix: the end tag of an answer whose template writes none; None refuses such answers.
    """

    def __init__(
        self, render: Render, added_token: re.Pattern[str], stops: frozenset[str], suffix: str | None = None
    ) -> None:
        self.render, self.added_token = render, added_token
        self.end_tags = EndTags(render, added_token, stops, suffix)

    def read(self, messages: list[Message]) -> Answer:
        """Return the answer that the last message, an assistant's, is.

        Raises:
            Refused: its place in the rendering cannot be proved.
        """
        *history, message = messages
        text, extent, sentinels = self._written(history, message)
        if extent.text != text:
            raise Refused("the template rewrites an assistant's text")
        prompt, lead = self._asked(history, message, text[: extent.start])
        start = extent.start - len(lead)
        if sentinels.has("thought") and _thinks_twice(prompt[-OPENING_TAG_REACH:], lead):
            raise Refused(
                "the template does not read the thought in an assistant's text", "give it as reasoning_content"
            )
        tag = self.end_tags.find(history, message, text, start, extent)
        before_tag = text[: tag.start]
        whole = before_tag + tag.suffix if tag.suffix else text
        end = tag.start + len(tag.suffix) if tag.suffix else tag.end
        if prompt == text[:start] and (not tag.suffix or before_tag == text):
            return Answer(whole, start, tag.start, end, tag.suffix)
        answer, shift = whole[start:end], len(prompt) - start
        return Answer(prompt + answer, len(prompt), tag.start + shift, end + shift, answer, follows_prompt=True)

    def _written(self, history: list[Message], message: Message) -> tuple[str, Extent, SentinelMessage]:
        """Return the rendering of an answer, where the assistant's texts are in it, and their sentinels.

        Raises:
            Refused: the answer is empty, or the template does not write its texts as they are.
        """
        sentinels = SentinelMessage(message)
        if not sentinels.texts:
            raise Refused("an assistant's text is empty")
        text = render_or_refuse(self.render, [*history, message])
        return text, sentinels.extent(render_or_refuse(self.render, [*history, sentinels.message])), sentinels

    def _asked(self, history: list[Message], message: Message, before: str) -> tuple[str, str]:
        """Return the prompt of an answer, and what the model writes behind the prompt before its own texts.

        Args:
            history: the messages before the answer.
            message: the answer.
            before: what the template writes before the assistant's texts.

        Raises:
            Refused: the template does not ask for this answer, or asks otherwise than it begins the answer.
        """
        if not history:
            lead = self._lead_behind_question(message, None, before)
            return before[: len(before) - len(lead)], lead
        prompt = render_or_none(self.render, history, add_generation_prompt=True)
        if prompt is None:
            raise Refused("the template does not say how it asks for this answer")
        if before.startswith(prompt):
            if prompt == render_or_none(self.render, history):
                prompt = before[: self._header_end(history, before, len(prompt))]
            return prompt, before[len(prompt) :]
        lead = self._lead(history, message, prompt, before)
        if lead is None:  # the turns before the answer are written otherwise
            if history == [QUESTION]:
                raise Refused(ANOTHER_PROMPT)
            lead = self._lead_behind_question(message, prompt, before)
        return prompt, lead

    def _lead(self, history: list[Message], message: Message, prompt: str, before: str) -> str | None:
        """Return the end of `before` that the model writes behind a prompt that opens or closes a thought otherwise
        than the template writes this answer; None if the two differ in more than that."""
        if (rest := _behind(prompt, before)) is not None:
            return rest
        if THOUGHT_FIELD in message or inline_thought(message["content"]):
            opening = max(map(before.rfind, THOUGHT_OPENINGS))
            return before[opening:] if opening > 0 and prompt.startswith(before[:opening]) else None
        shared = self._shared(before, prompt)
        rest = before[shared:]
        if rest.strip():  # a call: the prompt must have nothing but a thought's tag that the template did not write
            written = render_or_none(self.render, history)
            only_in_prompt = THOUGHT_TAG.sub("", self.added_token.sub("", prompt[shared:]))
            return None if written is None or shared < len(written) or only_in_prompt.strip() else rest
        return rest

    def header(self, history: list[Message], prompt: str) -> str:
        """Return what a template that writes no generation prompt writes before an answer to `history`, else "".

        Args:
            history: ends with another's message than the assistant's.
            prompt: the rendering of `history` with a generation prompt.
        """
        if history[-1]["role"] == "assistant" or prompt != render_or_none(self.render, history):
            return ""
        answered = render_or_none(self.render, [*history, {"role": "assistant", "content": "\ue002"}]) or ""
        header, has_answer, _ = answered.removeprefix(prompt).partition("\ue002")
        return header if has_answer and answered.startswith(prompt) and header.strip() else ""

    def _header_end(self, history: list[Message], before: str, header_start: int) -> int:
        """Return the offset behind the header of an answer, for a template that writes no generation prompt."""
        if not before[header_start:].strip():
            return header_start  # a space is the model's
        other = render_or_none(self.render, [*history, {"role": "assistant", "content": "\ue002"}]) or ""
        header_end = len(common_prefix(before, other))
        return header_end if before[header_start:header_end].strip() else header_start

    def _lead_behind_question(self, message: Message, prompt: str | None, before: str) -> str:
        """Return what the model writes before its own texts where it answers a single question.

        Args:
            message: the answer.
            prompt: of the answer in its conversation; None where the conversation begins with the answer.
            before: what the template writes before the assistant's texts in that conversation.

        Raises:
            Refused: the template does not ask for both answers, or does not begin them, in the same words.
        """
        question = render_or_none(self.render, [QUESTION])
        if question is None:
            raise Refused(ANOTHER_PROMPT)
        text, extent, _ = self._written([QUESTION], message)
        begun = text[: extent.start]
        asked, lead = self._asked([QUESTION], message, begun)
        if prompt is None:
            header = begun[self._shared(begun, question) : len(begun) - len(lead)].lstrip()
            alike = before.removesuffix(lead).endswith(header)
        else:
            shared = self._shared(begun, asked)
            ends = asked[shared:], begun[shared:]
            alike = prompt.endswith(ends[0]) and before.endswith(ends[1])
            rest = common_suffix(prompt.removesuffix(ends[0]), before.removesuffix(ends[1]))
            alike = alike and (rest.strip() or not ends[1].strip())
        if not (alike and before.endswith(lead)):
            raise Refused(ANOTHER_PROMPT)
        return lead

    def _shared(self, text: str, other: str) -> int:
        """Return how many characters two texts have in common before the first token of `text` that differs."""
        shared = len(common_prefix(text, other))
        for token in self.added_token.finditer(text):
            token_start = token.end() - len(token.group().lstrip())
            if token_start < shared < token.end():
                return token_start
        return shared


def _behind(prompt: str, before: str) -> str | None:
    """Return what stands in `before` behind a prompt that differs in nothing but whitespace, or None."""
    at = len(common_prefix(prompt, before))
    for character in prompt[at:]:
        if character.isspace():
            continue
        while before[at : at + 1].isspace():
            at += 1
        if before[at : at + 1] != character:
            return None
        at += 1
    return before[at:].lstrip() if prompt[-1:].isspace() else before[at:]


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
