"""The samples of a row in each shape of `components.tokens`."""

from typing import Any, NamedTuple

from components.errors import ConfigError
from components.media import COLUMNS, media_of
from components.rows import Message, Row, label_of, number_of, unread_answer
from components.templates.chat import ChatTemplate
from components.templates.refused import Refused
from components.templates.sample import Sample

WITH_MEDIA = ("sft", "preference", "label", "prompt", "classification")
"""Shapes whose rows may have media."""
ANSWERS: dict[str, tuple[str, ...]] = {"preference": ("chosen", "rejected"), "label": ("completion",)}
"""Shape to the columns of its answers, each of which becomes one sample."""
NOUNS = {
    "messages": "a conversation",
    "text": "a plain text",
    "chosen": "a preference pair",
    "completion": "an unpaired preference",
    "prompt": "a prompt without an answer",
}
"""Column to the kind of row that has it; the first that a row has decides."""
LEARNERS = {
    "messages": "`martlet sft` learns from it",
    "text": "`martlet pt` learns from it",
    "chosen": "`martlet rlhf --rlhf_type dpo` learns from it",
    "completion": "`martlet rlhf --rlhf_type kto` learns from it",
}
"""Column to who learns from rows of its kind."""
BUILT_IN = "its rows are conversations or plain texts"
BETTER_ONES = """; to learn the better answers alone, give --columns '{"chosen": "completion", "rejected": "_"}'"""
AS_CLASS = "its label is a class, which --task_type seq_cls learns"
AS_ANSWER = """; to learn the answer, leave the label out with --columns '{"label": "_"}'"""
AS_PAIR = "it has a text that belongs to it, which --task_type embedding learns"
SHAPE_NOUNS = {
    "sft": (("messages", "text"), "sft", BUILT_IN),
    "text": (("messages", "text"), "pre-training", BUILT_IN),
    "preference": (("chosen",), "a preference method", "its rows have prompt, chosen and rejected"),
    "label": (("completion",), "a method on judged answers", "its rows have prompt, completion and label"),
    "prompt": (("prompt",), "a method on prompts", "its rows have a prompt and no answer"),
    "classification": (
        ("prompt", "completion"),
        "a classifier",
        """its rows have a label beside a text or messages; name its column with --columns '{"NAME": "label"}'""",
    ),
    "pair": (("messages", "chosen", "completion", "prompt"), "an embedding", "its rows have an anchor and a positive"),
}
"""Shape to the columns that it is made of, who learns from it, and what to do with other rows."""


def check_settings(chat: ChatTemplate, shape: str, truncation_strategy: str) -> None:
    """Raise ConfigError if the shape cannot be made with the template's loss scale, or cut as the strategy says."""
    if shape in ("sft", "text") or (shape == "pair" and truncation_strategy == "right"):
        return
    if truncation_strategy in ("right", "split"):
        raise ConfigError(
            f"truncation_strategy: {truncation_strategy} would cut what is compared or judged as a whole; "
            "choose delete, or left, which shortens prompts"
        )
    if shape in ANSWERS and chat.loss_scale.base == "all":
        raise ConfigError("loss_scale: all learns prompts, too, of which answers are compared; choose default")


def samples_of(chat: ChatTemplate, shape: str, row: Row) -> list[Sample]:
    """Return the samples of a row: for `sft` as many as its answers need, for `preference` chosen and rejected, for the
    other shapes one.

    Raises:
        Refused: the row is of a kind that the shape is not made of, or cannot be learned exactly.
    """
    if media_of(row) and (shape not in WITH_MEDIA or not chat.use_chat_template):
        raise Refused(f"{SHAPE_NOUNS[shape][1]} learns from texts alone, and the row has media")
    if row.get("objects") and ("text" in row or not chat.use_chat_template):
        raise Refused("boxes are written into conversations alone, by the chat template")
    columns, learner, advice = SHAPE_NOUNS[shape]
    kind = _kind(row)
    if kind not in columns:
        label = row.get("extra", {}).get("label")
        detail = "" if label is None else f"the label {str(label)[:40]}"
        raise Refused(f"{NOUNS[kind]} is not learned by {learner}: {_advice(row, kind, shape, advice)}", detail)
    if shape == "sft":
        return chat.samples(row)
    if shape == "text":
        return [chat.text(row)]
    if shape == "prompt":
        return [chat.prompt(row)]
    if shape == "classification":
        target_of(row)
        return [chat.prompt({**row, "prompt": row["prompt"] + row.get("completion", [])})]
    if shape == "pair":
        texts = texts_of(row)
        return [chat.text_as_is(text) for text in (texts.anchor, texts.positive, *texts.negatives)]
    if shape == "preference":
        margin_of(row)
    samples = [chat.answer(row, name) for name in ANSWERS[shape]]
    if any(weight not in (0.0, 1.0) for sample in samples for weight in sample.weights):
        raise Refused("a weight of loss_scale is neither 0 nor 1, and answers are compared as a whole")
    return samples


class Texts(NamedTuple):
    """The texts of a row for embeddings, and how alike anchor and positive are, or None where the row does not say."""

    anchor: str
    positive: str
    negatives: list[str]
    score: float | None


def texts_of(row: Row) -> Texts:
    """Return the texts of a row: of a pair its own, of a conversation a question and its answer, of a preference also
    the rejected one, of a judged answer its label as a score.

    Raises:
        Refused: there is no second text, or a side is more than one turn.
    """
    if "messages" in row:
        *question, answer = row["messages"]
        return Texts(_text(question), _text([answer]), [], None)
    extra = row.get("extra", {})
    anchor = extra["anchor"] if "anchor" in extra else _text(row["prompt"])
    if "chosen" in row:
        return Texts(anchor, _text(row["chosen"]), [_text(row["rejected"])], None)
    if "completion" in row:
        return Texts(anchor, _text(row["completion"]), [], float(row["label"]))
    if not isinstance(extra.get("positive"), str):
        raise Refused(
            "no text belongs to the prompt: a row for embeddings has an anchor and a positive; name the column with "
            """--columns '{"NAME": "positive"}'"""
        )
    return Texts(anchor, extra["positive"], extra.get("negative", []), _score(extra.get("score", extra.get("label"))))


def _score(value: Any) -> float | None:
    """Return how alike two texts are.

    Raises:
        Refused: that is said by no number.
    """
    if value is None:
        return None
    number = number_of(value)
    if number is None:
        raise Refused("the score or label of the two texts is no number, how alike they are", repr(value)[:80])
    return number


def _text(messages: list[Message]) -> str:
    if len([m for m in messages if m["role"] != "system"]) != 1:
        raise Refused("a side of a pair is one text, and this is a conversation")
    return "\n".join(message["content"] for message in messages)


def target_of(row: Row) -> Any:
    """Return the label of a row: a number, a name, or a list of these.

    Raises:
        Refused: the row has none, or a label of another type.
    """
    label = label_of(row)
    label = int(label) if "label" in row else label
    parts = label if isinstance(label, list) else [label]
    if label is None or label == "":
        raise Refused("no label says which class the text is of")
    if not all(isinstance(part, bool | int | float | str) for part in parts):
        raise Refused("the label is neither a number nor a name nor a list of these", repr(label)[:80])
    return label


def columns_of(row: Row) -> dict[str, Any]:
    """Return what rewards read of a row: its other columns, the tools that its prompt offers, the variables of its chat
    template, the references of its media, and its boxes."""
    names = ("tools", "chat_template_kwargs", "objects", *COLUMNS.values())
    return row.get("extra", {}) | {name: row[name] for name in names if name in row}


def margin_of(row: Row) -> float | None:
    """Return by how much the chosen answer of a preference is to win, or None where the row does not say.

    Raises:
        Refused: the margin is no number.
    """
    value = row.get("extra", {}).get("margin")
    number = None if value is None else number_of(value)
    if value is not None and number is None:
        raise Refused("the margin is no number", repr(value)[:80])
    return number


def _advice(row: Row, kind: str, shape: str, wanted: str) -> str:
    """Return what to do with a row that is not learned for its kind; `wanted` are the rows that would be."""
    of_answers, extra = shape in ("sft", "text"), row.get("extra", {})
    if kind in LEARNERS:
        own = BETTER_ONES * (kind == "chosen") if of_answers else f"; {wanted}"
        return LEARNERS[kind] + own
    if shape not in (*ANSWERS, "sft", "text"):
        return wanted
    if label_of(row) is not None:
        if shape == "label":
            return f"{AS_CLASS}; a judgement is true or false"
        return AS_CLASS + AS_ANSWER * (of_answers and row["prompt"][-1]["role"] == "assistant")
    if isinstance(extra.get("positive"), str):
        return AS_PAIR
    return (of_answers and unread_answer(row)) or wanted


def _kind(row: Row) -> str:
    """Return the column that decides a row's kind."""
    for name in NOUNS:
        if name in row:
            return name
    return "prompt"
