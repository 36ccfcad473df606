"""What a chat template writes for a picture, a video or a sound, read off renderings of probes.

A template gets a message with media as typed parts. Here the tags of a row's text are replaced by what the template
would write for those parts, and the message stays a text, so that answers are found and proved as in any other
conversation. Each row is rendered in both ways; the two must be the same.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from components.media import TAG, TAGS
from components.rows import Message
from components.templates.dialects import Dialect
from components.templates.refused import Refused
from components.templates.renderer import Renderer

FIRST, LAST = "\ue002probe\ue003", "\ue004probe\ue005"
"""Texts before and behind a medium in a probe."""


class Placeholder(NamedTuple):
    """What a template writes for a medium of one kind.

    Attributes:
        text: in place of the medium.
        in_front: the template writes all media of a message before its texts.
        has_parts: the template takes typed parts; else the text is the model's own token, put where the tag stands.
        strips: the template strips the texts between media.
    """

    text: str
    in_front: bool
    has_parts: bool
    strips: bool


def placeholder(renderer: Renderer, kind: str, tokens: Sequence[str]) -> Placeholder:
    """Return what a template writes for a medium.

    Args:
        tokens: that the processor replaces with a medium of this kind.

    Raises:
        Refused: the template writes nothing, or something that the processor does not know.
    """
    medium, article = {"type": kind}, "an" if kind[0] in "aio" else "a"
    plain = _rendered(renderer, [_text(FIRST), _text(LAST)])
    if FIRST not in plain or "'type'" in plain:  # a template of texts: parts are nothing to it, or printed as they are
        if not tokens:
            raise Refused(f"the chat template takes texts alone, and the processor has no token for {article} {kind}")
        return Placeholder(tokens[0], False, False, False)
    within = _rendered(renderer, [_text(FIRST), medium, _text(LAST)])
    if len(within) <= len(plain):
        raise Refused(f"the chat template writes nothing for {article} {kind}")
    start = next(i for i in range(len(within)) if within[i : i + 1] != plain[i : i + 1])
    inside = within.partition(FIRST)[2].partition(LAST)[0]
    text = inside or within[start : start + len(within) - len(plain)]
    if not any(token in text for token in tokens):
        raise Refused(f"the chat template writes {text[:40]!r} for {article} {kind}, which the processor does not know")
    spaced = _rendered(renderer, [medium, _text(f" {FIRST}"), _text(LAST)])
    return Placeholder(text, not inside, True, f" {FIRST}" not in spaced)


def _text(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def _rendered(renderer: Renderer, content: list[dict[str, str]]) -> str:
    try:
        return renderer([{"role": "user", "content": content}])
    except Exception:  # a template raises what its author likes
        return ""


class MediaTexts:
    """Writes the media of messages as one chat template does.

    Args:
        renderer: the template.
        dialect: how it takes contents.
        tokens: kind to the tokens that the processor replaces with a medium.
    """

    def __init__(self, renderer: Renderer, dialect: Dialect, tokens: Callable[[str], Sequence[str]]) -> None:
        self.renderer, self.dialect, self.tokens = renderer, dialect, tokens
        self._placeholders: dict[str, Placeholder] = {}

    def placeholder(self, kind: str) -> Placeholder:
        """Return what the template writes for a medium of a kind.

        Raises:
            Refused: nothing that the processor knows.
        """
        if kind not in self._placeholders:
            self._placeholders[kind] = placeholder(self.renderer, kind, self.tokens(kind))
        return self._placeholders[kind]

    def written(self, messages: list[Message], kinds: Sequence[str]) -> list[Message]:
        """Return messages with the template's text for each tag of these kinds.

        Raises:
            Refused: the template writes nothing for a kind; or a medium in an assistant's message, which the model
                would have to write.
        """
        return [self._written(message, kinds) for message in messages]

    def _written(self, message: Message, kinds: Sequence[str]) -> Message:
        pieces = _pieces(message["content"], kinds)
        if len(pieces) == 1:
            return message
        if message["role"] == "assistant":
            raise Refused("a medium stands in an assistant's message, and the model writes texts alone")
        texts, media = pieces[::2], [self.placeholder(kind) for kind in pieces[1::2]]
        if any(medium.strips for medium in media):
            texts = [text.strip() for text in texts]
        front = "".join(medium.text for medium in media if medium.in_front)
        inside = ["" if medium.in_front else medium.text for medium in media]
        return message | {"content": front + texts[0] + "".join(map("".join, zip(inside, texts[1:], strict=True)))}

    def in_parts(self, messages: list[Message], kinds: Sequence[str]) -> list[Message] | None:
        """Return messages as the template takes media, None where it takes no typed parts."""
        if not all(self.placeholder(kind).has_parts for kind in kinds):
            return None
        return [self._in_parts(message, kinds) for message in messages]

    def _in_parts(self, message: Message, kinds: Sequence[str]) -> Message:
        pieces = _pieces(message["content"], kinds)
        if len(pieces) == 1:
            return self.dialect([message])[0]
        parts: list[dict[str, Any]] = [{"type": p} if i % 2 else _text(p) for i, p in enumerate(pieces) if i % 2 or p]
        return self.dialect._replace(parts=False)([message])[0] | {"content": parts}


def _pieces(text: str, kinds: Sequence[str]) -> list[str]:
    """Return a text split at the tags of these kinds: texts, and between two of them the kind of a medium."""
    pieces, start = [], 0
    for match in TAG.finditer(text):
        if match[1] in kinds:
            pieces += [text[start : match.start()], match[1]]
            start = match.end()
    return [*pieces, text[start:]]


def without_tags(messages: list[Message], kinds: Sequence[str]) -> list[Message]:
    """Return messages without the tags of these kinds."""
    for kind in kinds:
        messages = [m | {"content": m["content"].replace(TAGS[kind], "")} for m in messages]
    return messages
