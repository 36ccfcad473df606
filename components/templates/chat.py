"""What a row's text is, and which characters of it a model learns."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.errors import ConfigError
from components.rows import Message, Row
from components.templates.answers import Answer, rendered
from components.templates.conversation import Conversations, Group
from components.templates.kinds import Kinds
from components.templates.loss_scale import LossScale
from components.templates.refused import Refused
from components.templates.render import Span
from components.templates.sample import Sample, structure
from components.templates.slots import is_plain, may_be_laid_out
from components.templates.texts import Texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Weights = dict[int, float | None]
UNLEARNED = "no assistant turn is learned: loss_scale leaves all of them out"
MEDIA = frozenset(("images", "videos", "audios", "objects"))


class ChatTemplate:
    """The tokenizer's own template, rendered in transformers' sandbox, and what has been learned about it so far.

    Args:
        tokenizer: with a `tokenizers` backend, and a chat template unless `use_chat_template` is False.
        system: the system prompt of conversations that bring none.
        loss_scale: which turns are learned, and how much their parts count.
        enable_thinking: given to the template, unless a row's `chat_template_kwargs` say otherwise.
        use_chat_template: False writes a conversation as its texts, one after the other.

    Raises:
        ConfigError: the tokenizer has no chat template, or no fast backend.
    """

    def __init__(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        system: str | None = None,
        loss_scale: LossScale | None = None,
        enable_thinking: bool | None = None,
        use_chat_template: bool = True,
    ) -> None:
        where = f"{tokenizer.name_or_path}: " if tokenizer.name_or_path else ""
        if not tokenizer.chat_template and use_chat_template:
            raise ConfigError(
                f"{where}the tokenizer has no chat template; choose an instruct model, or put a chat_template.jinja "
                "beside its tokenizer.json"
            )
        if not getattr(tokenizer, "is_fast", False):
            raise ConfigError(f"{where}the tokenizer has no tokenizer.json, which exact loss masks need")
        self.tokenizer, self.system, self.loss_scale = tokenizer, system, loss_scale or LossScale()
        self.use_chat_template = use_chat_template
        self.source: str = tokenizer.get_chat_template() if use_chat_template else ""
        self._kinds = Kinds(tokenizer, {} if enable_thinking is None else {"enable_thinking": enable_thinking})
        self._texts = Texts(tokenizer)
        self._swallowing = tuple(t.content for t in tokenizer.added_tokens_decoder.values() if t.rstrip)
        """Tokens that take the whitespace behind them along."""
        self._role_weights: dict[tuple[str, ...], Weights] = {}

    def render(self, messages: list[Message], add_generation_prompt: bool = False) -> str:
        """The template's text for `messages`; raises whatever the template raises."""
        renderer, form = self._kinds.renderer(self.source)
        return renderer(form(messages), add_generation_prompt, None, **self._kinds.variables)

    def samples(self, row: Row) -> list[Sample]:
        """What is learned of a row: one sample with all its answers, or several where the template shows an earlier
        answer otherwise than it was to be given.

        Raises:
            Refused: when not all of it can be learned exactly.
        """
        if not MEDIA.isdisjoint(row):
            raise Refused(f"{min(MEDIA & row.keys())} are not learned from: the template is for text alone")
        if "messages" in row:
            if self.use_chat_template:
                return self._conversation(row)
            return [self._texts.question(row["messages"], self.loss_scale.base)]
        if "text" in row:
            return [self._texts.text(row["text"])]
        raise Refused(_not_for_sft(row))

    def pair(self, row: Row) -> tuple[Sample, Sample]:
        """A preference row's prompt with the chosen answer, and with the rejected one; only the answers are learned.

        Raises:
            Refused: as `samples` does; or an answer takes more than one sample.
        """
        beside = {key: value for key, value in row.items() if key not in ("prompt", "chosen", "rejected")}
        prompt = [{**m, "loss_scale": 0.0} if m["role"] == "assistant" else m for m in row["prompt"]]
        found = [self.samples({**beside, "messages": [*prompt, *row[name]]}) for name in ("chosen", "rejected")]
        if any(len(samples) > 1 for samples in found):
            raise Refused("the template shows an answer of several turns otherwise than it was to be given")
        return found[0][0], found[1][0]

    def _conversation(self, row: Row) -> list[Sample]:
        messages: list[Message] = row["messages"]
        if self.system is not None and (not messages or messages[0]["role"] != "system"):
            messages = [{"role": "system", "content": self.system}, *messages]
        roles = tuple([message["role"] for message in messages])
        weights, plain, calls = self._weights(roles), is_plain(messages), False
        if not plain:
            own = {i: m["loss_scale"] for i in weights if (m := messages[i]).get("loss_scale") is not None}
            weights = weights | own
            messages = [{k: v for k, v in m.items() if k != "loss_scale" and v is not None} for m in messages]
            calls = any("tool_calls" in message for message in messages)
        kind = self._kinds.of(row, calls)
        self._kinds.check(kind, messages, roles, plain)
        if self.loss_scale.base == "all":
            return [self._whole(kind, messages, weights)]
        wanted = [i for i, weight in weights.items() if weight != 0]
        if not wanted:
            raise Refused(UNLEARNED if weights else "there is no assistant turn")
        laid_out = plain or ("tools" not in row and may_be_laid_out(messages))
        groups = kind.plain(messages, roles, wanted) if laid_out else None
        if groups is None:
            groups = kind.exact(messages, wanted)
        if not groups:
            raise Refused("the template's generation blocks hold no assistant turn")
        return [self._sample(kind, messages, group, weights) for group in groups]

    def _sample(self, kind: Conversations, messages: list[Message], group: Group, weights: Weights) -> Sample:
        last = max(group)
        said = messages if last + 1 == len(messages) else messages[: last + 1]
        spans: list[Span] = []
        counts: list[float] = []
        for i, answer in group.items():
            for span, weight in self._parts(messages, i, answer, weights[i]):
                spans.append(span)
                counts.append(weight)
        if not any(counts):
            raise Refused(UNLEARNED)
        answer = group[last]
        given = kind.given(said, answer.asked)
        return Sample(given, answer.text, spans, counts, structure(said, len(group)), answer.suffix)

    def _parts(self, messages: list[Message], i: int, answer: Answer, weight: float | None) -> list[tuple[Span, float]]:
        """The spans of one answer: what the strategy makes of it, then its end tag."""
        if self._swallowing and answer.text.endswith(self._swallowing, 0, answer.start):
            own = answer.text[answer.start : answer.end].lstrip()
            answer = answer._replace(start=answer.end - len(own))
        if weight is not None or not self.loss_scale.weighs:
            return [((answer.start, answer.end), 1.0 if weight is None else weight)]
        query = messages[i - 1]["content"] if i else ""
        parts = self.loss_scale(answer.text[answer.start : answer.tag], query)
        return _placed(answer.start, [*parts, (answer.text[answer.tag : answer.end], 1.0)])

    def _whole(self, kind: Conversations, messages: list[Message], weights: Weights) -> Sample:
        """Every token of the conversation, with the answers weighed where the row or the strategy says so."""
        text = rendered(kind.reader.render, messages)
        own = [i for i, weight in weights.items() if weight is not None]
        parts: list[tuple[Span, float]] = []
        position = 0
        for i in own or (weights if self.loss_scale.weighs else []):
            answer = kind.reader.read(messages[: i + 1])
            if not text.startswith(answer.text[: answer.end]):
                raise Refused("the template shows an earlier answer otherwise than it was to be given")
            parts += [((position, answer.start), 1.0), *self._parts(messages, i, answer, weights[i])]
            position = answer.end
        parts += [((position, len(text)), 1.0)]
        spans = [(span, weight) for span, weight in parts if span[0] < span[1]]
        return Sample(
            kind.given(messages), text, [s for s, _ in spans], [w for _, w in spans], structure(messages, len(weights))
        )

    def _weights(self, roles: tuple[str, ...]) -> Weights:
        """By answer: 0 where it is not learned, None where the strategy says how much."""
        if roles not in self._role_weights:
            asked = max((i for i, role in enumerate(roles) if role in ("user", "tool")), default=-1)
            last_only = self.loss_scale.base == "last_round"
            answers = [i for i, role in enumerate(roles) if role == "assistant"]
            self._role_weights[roles] = {i: 0.0 if last_only and i < asked else None for i in answers}
        return self._role_weights[roles]


def _placed(start: int, parts: Sequence[tuple[str, float]]) -> list[tuple[Span, float]]:
    """Texts one after the other as spans; neighbours of one weight are one span."""
    spans: list[tuple[Span, float]] = []
    for text, weight in parts:
        end = start + len(text)
        if spans and spans[-1][1] == weight:
            spans[-1] = ((spans[-1][0][0], end), weight)
        elif text:
            spans.append(((start, end), weight))
        start = end
    return spans


def _not_for_sft(row: Row) -> str:
    if "chosen" in row:
        return "a preference pair is not learned by sft: it is for rlhf"
    if "completion" in row:
        return "an unpaired preference is not learned by sft: it is for rlhf"
    return "a prompt without an answer is not learned by sft: it is for rlhf"
