"""Messages as a template gets them: for training, the server, `infer` and the evaluation, which all call `Prompts`."""

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from components.media import TAGS, MediaProcessor, MediaPrompt, Medium, Processed, media_of
from components.rows import Message, Row
from components.templates.bindings import Bindings
from components.templates.bound_template import BoundTemplate, refuse_missing_texts
from components.templates.budget import require_bounded
from components.templates.grounding import Grounding, bare, objects_of
from components.templates.media_texts import without_tags
from components.templates.message_shape import are_plain
from components.templates.plain_text import PlainText
from components.templates.refused import Refused
from components.templates.renderer import render_or_refuse

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class Bound(NamedTuple):
    """Messages that are ready to be rendered, and the template for them.

    Attributes:
        messages: with the template's own text for each medium.
        plain: the messages hold roles and contents only.
        own: the messages without media and boxes: all that the row says itself.
    """

    messages: list[Message]
    template: BoundTemplate
    plain: bool
    own: list[Message]


class Prompts:
    """A model's chat template with the settings of its training.

    Args:
        tokenizer: with the template.
        system: the system prompt of conversations that bring none.
        enable_thinking: given to the template, unless a conversation's own variables say otherwise.
        use_chat_template: False writes a question and its answer one after the other.
        response_suffix: the end tag of answers whose template writes none.
        media: the model's processor, None for a model of texts alone.
        grounding: how boxes of a row are written.

    Raises:
        ConfigError: the model does not stop at `response_suffix`; or the template's budget is spent.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        system: str | None = None,
        enable_thinking: bool | None = None,
        use_chat_template: bool = True,
        response_suffix: str | None = None,
        media: MediaProcessor | None = None,
        grounding: Grounding | None = None,
    ) -> None:
        self.tokenizer, self.system, self.use_chat_template = tokenizer, system, use_chat_template
        self.media, self.grounding = media, grounding or Grounding()
        variables = {} if enable_thinking is None else {"enable_thinking": enable_thinking}
        templates = tokenizer.chat_template if use_chat_template else None
        for source in templates.values() if isinstance(templates, dict) else [templates] if templates else []:
            require_bounded(source)
        self.bindings = Bindings(tokenizer, variables, response_suffix)
        self.plain_text = PlainText(tokenizer)

    def bound(self, row: Row, messages: list[Message]) -> Bound:
        """Return the messages with the system prompt, and the template bound to the row's tools and variables.

        Raises:
            Refused: the template cannot be bound to them, or does not write the row's media; or as `grounded`.
        """
        messages, has_calls = self.with_system(messages), False
        if row.get("objects"):
            return self._with_objects(row, messages)
        if not (plain := are_plain(messages)):
            messages = [{k: v for k, v in m.items() if k != "loss_scale" and v is not None} for m in messages]
            has_calls = any("tool_calls" in message for message in messages)
        template = self.bindings.bind(row, has_calls)
        messages = template.dialect.with_arguments(messages) if has_calls else messages
        if not (media := media_of(row)):
            return Bound(messages, template, plain, messages)
        kinds = tuple(dict.fromkeys(medium.kind for medium in media))
        return Bound(self._with_media(messages, template, kinds), template, plain, without_tags(messages, kinds))

    def _with_objects(self, row: Row, messages: list[Message]) -> Bound:
        """Return `bound` of messages with boxes; what the family writes round them is none of the row's own texts."""
        without = {name: value for name, value in row.items() if name != "objects"}
        own = self.bound(without, bare(messages, objects_of(row["objects"], messages))).own
        return self.bound(without, self.grounded(row, messages))._replace(own=own)

    def grounded(self, row: Row, messages: list[Message]) -> list[Message]:
        """Return messages with the family's text for each box and reference of the row's objects.

        Raises:
            Refused: the texts have other numbers of tags; or a box's picture is not there, or cannot be read.
        """
        if not (objects := row.get("objects")):
            return messages
        return self.grounding.written(messages, objects_of(objects, messages), media_of(row), self.media)

    def _with_media(self, messages: list[Message], template: BoundTemplate, kinds: tuple[str, ...]) -> list[Message]:
        """Return messages with the template's own text for each medium.

        Raises:
            Refused: the model takes no media; or the template writes them otherwise than in the place of their tags.
        """
        for kind in kinds:
            if self.media is None or kind not in self.media.kinds:
                takes = (
                    f"{', '.join(f'{kind}s' for kind in self.media.kinds)} and texts" if self.media else "texts alone"
                )
                raise Refused(f"the model takes no {kind}s", f"it takes {takes}")
        assert self.media
        texts = self.bindings.media_texts(template, self.media.tokens)
        written, in_parts = texts.written(messages, kinds), texts.in_parts(messages, kinds)
        if in_parts is not None:
            options = {"tools": template.tools, **template.variables}
            wanted = render_or_refuse(partial(template.renderer, **options), in_parts)
            if render_or_refuse(template.reader.render, written) != wanted:
                raise Refused("the chat template does not write the row's media where their tags stand")
        return written

    def placeholder(self, kind: str) -> str:
        """Return what the template writes for a medium of a kind.

        Raises:
            Refused: nothing that the processor knows.
        """
        assert self.media
        template = self.bindings.bind({}, False)
        return self.bindings.media_texts(template, self.media.tokens).placeholder(kind).text

    def processed(self, row: Row, add_generation_prompt: bool = True) -> Processed:
        """Return what a served model gets for a conversation with media, which ends with the question.

        Raises:
            Refused: as `ids`; or the texts have other tags than the row has media.
            MediaError: a medium cannot be read.
        """
        if not (self.use_chat_template and self.tokenizer.chat_template):
            raise Refused("there is no chat template to write media with", "use an instruction-tuned model")
        media = media_of(row)
        _refuse_other_tags(row["messages"], media)
        text, _ = self.text(self.bound(row, row["messages"]), add_generation_prompt)
        assert self.media
        processed = self.media(text, media)
        if processed.spans is None:
            raise Refused("the chat template and the processor do not agree on what stands for a medium")
        return processed

    def with_media(self, row: Row, add_generation_prompt: bool = True) -> MediaPrompt:
        """Return the token ids of a conversation with media, and what the model gets of them; raises as `processed`."""
        processed = self.processed(row, add_generation_prompt)
        assert self.media
        types = self.media.types([processed.ids], [[False] * len(processed.ids)])
        kinds = {name: values[0] for name, values in types.items()}
        return MediaPrompt(processed.ids, processed.features, kinds, self.media.name)

    def with_system(self, messages: list[Message]) -> list[Message]:
        """Return the messages, with the system prompt before them if they bring none."""
        if self.system is None or (messages and messages[0]["role"] == "system"):
            return messages
        return [{"role": "system", "content": self.system}, *messages]

    def text(self, bound: Bound, add_generation_prompt: bool = True) -> tuple[str, str]:
        """Return the template's text for the messages, and the end of that text that is the header of an answer, where
        a template writes such headers and no generation prompt.

        Raises:
            Refused: the template refuses the messages, or leaves out one of their texts.
        """
        reader = bound.template.reader
        text = render_or_refuse(reader.render, bound.messages, add_generation_prompt=add_generation_prompt)
        refuse_missing_texts(bound.messages, text)
        header = reader.header(bound.messages, text) if add_generation_prompt else ""
        return text + header, header

    def ids(self, row: Row, add_generation_prompt: bool = True) -> list[int]:
        """Return the token ids of what a served model gets for a conversation.

        Args:
            row: canonical `messages`, and optionally `tools` and `chat_template_kwargs`.
            add_generation_prompt: ask for the next answer.

        Raises:
            Refused: the tokenizer has no chat template, or as `bound` and `text`.
        """
        if not self.use_chat_template:
            text = self.plain_text.prompt(self.with_system(row["messages"])).text
        elif not self.tokenizer.chat_template:
            raise Refused("there is no chat template, so the model cannot chat", "use an instruction-tuned model")
        else:
            text, _ = self.text(self.bound(row, row["messages"]), add_generation_prompt)
        return self.tokenizer.encode(text, add_special_tokens=False)


def _refuse_other_tags(messages: list[Message], media: list[Medium]) -> None:
    """Refuse texts whose tags are not as many as the media."""
    for kind in dict.fromkeys(medium.kind for medium in media):
        tags = sum(message["content"].count(TAGS[kind]) for message in messages)
        count = sum(medium.kind == kind for medium in media)
        if tags != count:
            raise Refused(f"the texts have {TAGS[kind]} {tags} times", f"there are {count} {kind}s")
