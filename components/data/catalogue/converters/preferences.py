"""Chosen and rejected answers."""

import re
from itertools import takewhile
from typing import Any

from components.data.catalogue.converters import Raw

Turns = list[dict[str, Any]]


def preference(chosen: Turns, rejected: Turns) -> Raw:
    """Two conversations as the canonical row: the prompt is what they have in common, up to the last user's turn."""
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(chosen, rejected, strict=False)))
    shared = min(shared, len(chosen) - 1, len(rejected) - 1)
    return {"prompt": chosen[:shared], "chosen": chosen[shared:], "rejected": rejected[shared:]}


_TURN = re.compile(r"(?:^|\n\n)(?:Human|Assistant|Hum):")


def hh_rlhf(raw: Raw) -> Raw:
    """Anthropic's two transcripts, whose turns stand behind `Human:` and `Assistant:`, one after the other."""
    return preference(_transcript(raw["chosen"]), _transcript(raw["rejected"]))


def _transcript(text: str) -> Turns:
    parts = [part.strip() for part in _TURN.split(text.strip())]
    turns = parts[1:] if not parts[0] else parts
    return [{"role": ("user", "assistant")[number % 2], "content": turn} for number, turn in enumerate(turns)]


_ROLES = {"human": "user", "user": "user", "assistant": "assistant", "gpt": "assistant"}


def hh_rlhf_cn(raw: Raw) -> Raw:
    """A context and two answers, each a turn of `role` and `text`."""
    message = lambda turn: {"role": _ROLES[turn["role"]], "content": turn["text"]}  # noqa: E731
    context = [message(turn) for turn in raw["context"]]
    return {"prompt": context, "chosen": [message(raw["chosen"])], "rejected": [message(raw["rejected"])]}


def orpo_dpo_mix(raw: Raw) -> Raw | None:
    """Two conversations; the toxic part of the mix is left out, as ms-swift does."""
    if raw["source"] == "toxic-dpo-v0.2":
        return None
    return preference(raw["chosen"], raw["rejected"])


def emoji(raw: Raw) -> Raw:
    """The Chinese answer with emojis is preferred; stray variation selectors are taken out."""
    clean = {key: raw[key].replace("\ufe0f", "") for key in ("question", "answer_zh", "answer_en")}
    return {"prompt": clean["question"], "chosen": clean["answer_zh"], "rejected": clean["answer_en"]}
