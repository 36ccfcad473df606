"""The text of a row, and which characters of it a model learns.

A conversation goes through `ChatTemplate.samples` from top to bottom: the system prompt is added, the template is bound
to the row's tools and variables, control tokens are refused, the template's layout gives the place of each answer, and
the loss scale gives the weight of its parts.
"""

from typing import TYPE_CHECKING, NamedTuple

from components.errors import ConfigError
from components.media import COLUMNS, MediaProcessor
from components.rows import Message, Row
from components.templates.answers import Answer
from components.templates.bound_template import Answers, BoundTemplate
from components.templates.grounding import Grounding, of_answer
from components.templates.loss_scale import LossScale, TurnWeights, turn_weights_of
from components.templates.message_shape import are_texts
from components.templates.prompts import Bound, Prompts
from components.templates.refused import Refused
from components.templates.sample import Sample, structure
from components.templates.spans import Span, weighted_spans, with_gaps

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NO_TURN_LEARNED = "no assistant turn is learned: loss_scale leaves all of them out"


class Conversation(NamedTuple):
    """Messages that are ready to be rendered; `plain` ones hold nothing but roles and contents."""

    messages: list[Message]
    roles: tuple[str, ...]
    turn_weights: TurnWeights
    plain: bool
    template: BoundTemplate


class ChatTemplate:
    """The tokenizer's own template, rendered in transformers' sandbox, and what is learned of its renderings.

    Args:
        tokenizer: with a `tokenizers` backend, and a chat template unless `use_chat_template` is False.
        system: the system prompt of conversations that bring none.
        loss_scale: which turns are learned, and how much their parts count.
        enable_thinking: given to the template, unless a row's `chat_template_kwargs` say otherwise.
        use_chat_template: False writes a conversation as its texts, one after the other.
        response_suffix: the end tag of answers whose template writes none.
        media: the model's processor, None for a model of texts alone.
        grounding: how boxes of a row are written.

    Raises:
        ConfigError: the tokenizer has no chat template, or no fast backend; the model does not stop at
            `response_suffix`.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        system: str | None = None,
        loss_scale: LossScale | None = None,
        enable_thinking: bool | None = None,
        use_chat_template: bool = True,
        response_suffix: str | None = None,
        media: MediaProcessor | None = None,
        grounding: Grounding | None = None,
    ) -> None:
        where = f"{tokenizer.name_or_path}: " if tokenizer.name_or_path else ""
        if not tokenizer.chat_template and use_chat_template:
            raise ConfigError(
                f"{where}the tokenizer has no chat template; choose an instruct model, or put a chat_template.jinja "
                "beside its tokenizer.json"
            )
        if not getattr(tokenizer, "is_fast", False):
            raise ConfigError(f"{where}the tokenizer has no tokenizer.json, which exact loss masks need")
        self.tokenizer, self.loss_scale, self.use_chat_template = (
            tokenizer,
            loss_scale or LossScale(),
            use_chat_template,
        )
        self.prompts = Prompts(tokenizer, system, enable_thinking, use_chat_template, response_suffix, media, grounding)
        self.media = media
        self.source: str = tokenizer.get_chat_template() if use_chat_template else ""
        self._bindings, self._plain_text = self.prompts.bindings, self.prompts.plain_text
        self._swallowing = tuple(t.content for t in tokenizer.added_tokens_decoder.values() if t.rstrip)
        """Added tokens that take along the whitespace behind them."""

    def render(self, messages: list[Message], add_generation_prompt: bool = False) -> str:
        """Return the template's text for `messages`; raises what the template raises."""
        renderer, dialect = self._bindings.renderer(self.source)
        return renderer(dialect(messages), add_generation_prompt, None, **self._bindings.variables)

    def samples(self, row: Row) -> list[Sample]:
        """Return one sample with all answers of a conversation, or several where the template changes an answer once
        the conversation goes on; for a plain text, the text.

        Raises:
            Refused: an answer cannot be learned exactly.
        """
        if "text" in row:
            return [self._plain_text.text(row["text"])]
        if not self.use_chat_template:
            return [self._plain_text.conversation(row["messages"], self.loss_scale.base == "all")]
        conversation = self._conversation(row, row["messages"])
        messages, roles, turn_weights, plain, template = conversation
        learn_all = self.loss_scale.base == "all"
        turns = [i for i, weight in turn_weights.items() if learn_all or weight != 0]
        if not turns:
            raise Refused(NO_TURN_LEARNED if turn_weights else "there is no assistant turn")
        renderings = None
        if plain or ("tools" not in row and are_texts(messages)):
            renderings = template.by_layout(messages, roles, turns)
        if renderings is None:
            renderings = template.by_turn(messages, turns)
        if not renderings:
            raise Refused("the template's generation blocks hold no assistant turn")
        weighs = self.loss_scale.strategies or any(weight is not None for weight in turn_weights.values())
        if learn_all and weighs and len(renderings) > 1:
            raise Refused("the template changes an earlier answer once a later one is there")
        return [self._sample(conversation, answers) for answers in renderings]

    def answer(self, row: Row, name: str) -> Sample:
        """Return a sample of a row's prompt with the answer in the column `name`; only that answer is learned.

        Raises:
            Refused: as `samples`; or the template changes one of the answer's turns once the conversation goes on.
        """
        columns = ("tools", "chat_template_kwargs", *COLUMNS.values())
        beside = {key: row[key] for key in columns if key in row}
        if row.get("objects"):
            beside["objects"] = of_answer(row, name)
        prompt = [{**m, "loss_scale": 0.0} if m["role"] == "assistant" else m for m in row["prompt"]]
        samples = self.samples({**beside, "messages": [*prompt, *row[name]]})
        if len(samples) > 1:
            raise Refused("the template changes an earlier turn of the answer once a later one is there")
        return samples[0]

    def prompt(self, row: Row) -> Sample:
        """Return a sample of a row's prompt with the generation prompt behind; nothing is learned.

        Raises:
            Refused: the template refuses the prompt, or leaves out one of its texts.
        """
        if not self.use_chat_template:
            return self._plain_text.prompt(row["prompt"])
        bound = self.prompts.bound(row, row["prompt"])
        self._refuse_control_tokens(bound)
        arguments = bound.template.arguments(bound.messages, prompt=True)
        text, header = self.prompts.text(bound)
        return Sample(arguments, text, [], [], structure(bound.messages, 0), suffix=header)

    def text(self, row: Row) -> Sample:
        """Return a sample of a plain text or of a conversation's texts, one after the other; all of it is learned.

        Raises:
            Refused: the text is empty or holds a special token, or the conversation is more than a question and its
                answer.
        """
        if "text" in row:
            return self._plain_text.text(row["text"])
        return self._plain_text.conversation(row["messages"], learn_all=True)

    def text_as_is(self, text: str) -> Sample:
        """Return a sample of a text as the tokenizer encodes it, without the template; nothing is learned.

        Raises:
            Refused: the text is empty or holds a special token.
        """
        return self._plain_text.whole(text)

    def _conversation(self, row: Row, messages: list[Message]) -> Conversation:
        """Return the messages with the system prompt, and the template bound to the row's tools and variables.

        Raises:
            Refused: a text holds a control token, or the template cannot be bound to the tools and variables.
        """
        own = self.prompts.with_system(messages)
        bound = self.prompts.bound(row, own)
        roles = tuple([message["role"] for message in own])
        turn_weights = turn_weights_of(self.loss_scale.base, roles)
        if not bound.plain:
            weights = {i: weight for i in turn_weights if (weight := own[i].get("loss_scale")) is not None}
            turn_weights = turn_weights | weights
        self._refuse_control_tokens(bound)
        return Conversation(bound.messages, roles, turn_weights, bound.plain, bound.template)

    def _refuse_control_tokens(self, bound: Bound) -> None:
        has_results = any(message["role"] == "tool" for message in bound.messages)
        self._bindings.refuse_control_tokens(bound.template, bound.own, has_results, bound.plain)

    def _sample(self, conversation: Conversation, answers: Answers) -> Sample:
        """Return the sample of the answers in one rendering."""
        messages, _, turn_weights, _, template = conversation
        last = max(answers)
        parts: list[tuple[Span, float]] = []
        for i, answer in answers.items():
            parts += self._weighted_spans(messages, i, answer, turn_weights[i])
        answer = answers[last]
        if self.loss_scale.base == "all":
            parts = with_gaps(answer.text, parts)
        spans, weights = [span for span, _ in parts], [weight for _, weight in parts]
        if not any(weights):
            raise Refused(NO_TURN_LEARNED)
        head = messages if last + 1 == len(messages) else messages[: last + 1]
        name = structure(head, len(answers))
        row = template.arguments(head[:-1] if answer.follows_prompt else head, answer.follows_prompt)
        return Sample(row, answer.text, spans, weights, name, answer.suffix)

    def _weighted_spans(
        self, messages: list[Message], i: int, answer: Answer, weight: float | None
    ) -> list[tuple[Span, float]]:
        """Return the spans of the answer in message `i`: its parts by the loss scale, and its end tag."""
        start, end = answer.start, answer.end
        if self._swallowing and answer.text.endswith(self._swallowing, 0, start):
            start = end - len(answer.text[start:end].lstrip())
        if weight is not None or not self.loss_scale.strategies:
            return [((start, end), 1.0 if weight is None else weight)]
        question = messages[i - 1]["content"] if i else ""
        parts = self.loss_scale(answer.text[start : answer.tag], question)
        return weighted_spans(start, [*parts, (answer.text[answer.tag : end], 1.0)])
