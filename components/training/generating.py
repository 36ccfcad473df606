"""The answers of the model that is being trained, beside those of the rows."""

from collections.abc import Sequence
from typing import Any

from components.tokens import IGNORED, TokenRow

MAX_NEW_TOKENS = 64
"""Tokens of an answer where `max_new_tokens` is not given: ms-swift's number."""


def prompt_and_answer(row: TokenRow) -> tuple[list[int], list[int]]:
    """Return the token ids of a row before and in its last answer: the last span that is learned."""
    learned = (row["labels"] != IGNORED).tolist()
    end = len(learned) - learned[::-1].index(True)
    start = next((at + 1 for at in range(end - 1, -1, -1) if not learned[at]), 0)
    ids = row["input_ids"].tolist()
    return ids[:start], ids[start:end]


def answers(
    model: Any, tokenizer: Any, rows: Sequence[TokenRow], batch_size: int, max_new_tokens: int | None
) -> tuple[list[str], list[str]]:
    """Return the likeliest answers of `model` to the prompts of `rows`, and the answers that the rows have; rows
    without a prompt or an answer are left out. No random number is drawn."""
    import torch
    from transformers import GenerationConfig

    pairs = [prompt_and_answer(row) for row in rows if (row["labels"] != IGNORED).any()]
    pairs = [(prompt, answer) for prompt, answer in pairs if prompt]
    ends = model.generation_config.eos_token_id
    ends = {*(ends if isinstance(ends, list) else [ends]), tokenizer.eos_token_id} - {None}
    pad = next((token for token in (tokenizer.pad_token_id, *ends) if token is not None), 0)
    config = GenerationConfig(
        do_sample=False, max_new_tokens=max_new_tokens or MAX_NEW_TOKENS, eos_token_id=sorted(ends) or None,
        pad_token_id=pad,
    )  # fmt: skip
    texts: list[str] = []
    for start in range(0, len(pairs), batch_size):
        prompts = [prompt for prompt, _ in pairs[start : start + batch_size]]
        length = max(map(len, prompts))
        ids = torch.tensor([[pad] * (length - len(prompt)) + prompt for prompt in prompts], device=model.device)
        mask = torch.tensor([[0] * (length - len(p)) + [1] * len(p) for p in prompts], device=model.device)
        lines = model.generate(input_ids=ids, attention_mask=mask, generation_config=config)
        texts += tokenizer.batch_decode(lines[:, length:], skip_special_tokens=True)
    return texts, tokenizer.batch_decode([answer for _, answer in pairs], skip_special_tokens=True)
