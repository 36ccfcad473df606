"""The samples of a row in each shape of `components.tokens`."""

from components.errors import ConfigError
from components.rows import Row, unread_answer
from components.templates.chat import ChatTemplate
from components.templates.refused import Refused
from components.templates.sample import Sample

MEDIA = frozenset(("images", "videos", "audios", "objects"))
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
BUILT_IN = (
    "sft and pt are built in, and methods on preferences, judged answers and prompts come as plugins, such as "
    "docs/plugins/dpo.py"
)
BETTER_ONES = """; to learn the better answers alone, give --columns '{"chosen": "completion", "rejected": "_"}'"""
SHAPE_NOUNS = {
    "sft": (("messages", "text"), "sft", BUILT_IN),
    "text": (("messages", "text"), "pre-training", BUILT_IN),
    "preference": (("chosen",), "a preference method", "its rows have prompt, chosen and rejected"),
    "label": (("completion",), "a method on judged answers", "its rows have prompt, completion and label"),
    "prompt": (("prompt",), "a method on prompts", "its rows have a prompt and no answer"),
}
"""Shape to the columns that it is made of, who learns from it, and what to do with other rows."""


def check_settings(chat: ChatTemplate, shape: str, truncation_strategy: str) -> None:
    """Raise ConfigError if the shape cannot be made with the template's loss scale, or cut as the strategy says."""
    if shape in ("sft", "text"):
        return
    if truncation_strategy in ("right", "split"):
        raise ConfigError(
            f"truncation_strategy: {truncation_strategy} would cut answers that are compared or judged as a whole; "
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
    if not MEDIA.isdisjoint(row):
        raise Refused(f"{min(MEDIA & row.keys())} are not learned from: the template is for text alone")
    columns, learner, advice = SHAPE_NOUNS[shape]
    kind = _kind(row)
    if kind not in columns:
        raise Refused(f"{NOUNS[kind]} is not learned by {learner}: {_advice(row, kind, shape) or advice}")
    if shape == "sft":
        return chat.samples(row)
    if shape == "text":
        return [chat.text(row)]
    if shape == "prompt":
        return [chat.prompt(row)]
    samples = [chat.answer(row, name) for name in ANSWERS[shape]]
    if any(weight not in (0.0, 1.0) for sample in samples for weight in sample.weights):
        raise Refused("a weight of loss_scale is neither 0 nor 1, and answers are compared as a whole")
    return samples


def _advice(row: Row, kind: str, shape: str) -> str:
    """Return what to do with a row that is not learned for its kind; "" where there is nothing to say about the row."""
    if shape not in ("sft", "text"):
        return ""
    return unread_answer(row) if kind == "prompt" else BUILT_IN + BETTER_ONES * (kind == "chosen")


def _kind(row: Row) -> str:
    """Return the column that decides a row's kind."""
    for name in NOUNS:
        if name in row:
            return name
    return "prompt"
