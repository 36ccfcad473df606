"""A better and a worse answer: TRL's and LLaMA-Factory's `chosen` and `rejected`.

https://huggingface.co/docs/trl/dataset_formats, https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md
"""

from collections.abc import Collection
from typing import Any

from components import rows
from components.data.formats._columns import CONVERSATIONS, Columns, prompts
from components.data.formats.prompt import prompt_of
from components.data.normalize import Media, extra, messages_of, question_messages, split_pair, system_of, text

ACCEPTS = "(prompt or conversations +) chosen + rejected"
_INSTRUCTION = ("instruction", "input")


def readings(columns: Collection[str]) -> list[Columns]:
    """Both answers, and all columns that may hold what they answer, the surest first."""
    if not {"chosen", "rejected"} <= {*columns}:
        return []
    others = (*CONVERSATIONS, *prompts(columns), *_INSTRUCTION)
    return [("chosen", "rejected", *dict.fromkeys(name for name in ("prompt", *others) if name in columns))]


def read(raw: dict[str, Any], columns: Columns) -> rows.Row:
    """Prompt, chosen and rejected as messages; without a prompt it is what two whole conversations share. `margin` is
    by how much a reward model is to prefer the chosen one."""
    media: Media = {}
    other: Media = {}
    chosen, rejected = side(raw, "chosen", media), side(raw, "rejected", other)
    if media != other:
        raise ValueError("chosen and rejected hold different media: these belong into the prompt that they share")
    if not chosen[0]["role"] == rejected[0]["role"] == "assistant":
        prompt, chosen, rejected = split_pair(chosen, rejected)
        if prompt[0]["role"] != "system":
            prompt = system_of(raw) + prompt
    elif len(columns) > 2:
        prompt = _prompt(raw, columns[2], media)
    else:
        raise ValueError("chosen and rejected are answers, but nothing says to what: the question goes into 'prompt'")
    margin = extra({"margin": raw["margin"]}, "") if "margin" in raw else {}
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected} | margin | media


def side(raw: dict[str, Any], column: str, media: Media) -> list[rows.Message]:
    """An answer's messages: a text is the assistant's, an object one message, a list is as it is."""
    value = raw[column]
    if isinstance(value, str):
        return [{"role": "assistant", "content": text(raw, column)}]
    return messages_of([value] if isinstance(value, dict) else value, column, media)


def answer(raw: dict[str, Any], column: str, media: Media) -> list[rows.Message]:
    """The same where it has to be an answer.

    Raises:
        ValueError: the assistant does not begin.
    """
    messages = side(raw, column, media)
    if messages[0]["role"] != "assistant":
        raise ValueError(f"'{column}' must begin with the assistant's message, not the {messages[0]['role']}'s")
    return messages


def _prompt(raw: dict[str, Any], column: str, media: Media) -> list[rows.Message]:
    if column in CONVERSATIONS:
        messages = messages_of(raw[column], column, media)
        return messages if messages[0]["role"] == "system" else [*system_of(raw), *messages]
    if column in _INSTRUCTION:
        return question_messages(raw, "\n".join(part for name in _INSTRUCTION if (part := text(raw, name))))
    return prompt_of(raw, column, media)
