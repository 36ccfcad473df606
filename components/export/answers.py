"""Greedy answers of a model, and the share of them that another model gives as well."""

import os
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from components.errors import MartletError

ANSWER_TOKENS = 32
"""Length of the answers that are compared, in tokens."""
SINGLE_THREAD_MAX_PARAMS = 50_000_000
"""Weights up to which a model on a CPU answers on one thread: more gain next to nothing, and lose much while another
process holds a core."""


class Answers(NamedTuple):
    """Greedy answers to a few prompts: the token ids of each, up to and with the end of its turn, and the speed at
    which all were generated together."""

    ids: list[list[int]]
    tokens_per_second: float


def greedy_answers(model: Any, prompts: Sequence[list[int]], max_new_tokens: int = ANSWER_TOKENS) -> Answers | None:
    """Return a model's answers to prompts of token ids, generated as one batch, padded on the left; None without
    prompts, and for a model that writes no text."""
    if not prompts or not model.can_generate():
        return None
    import torch
    from transformers import GenerationConfig

    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts], device=model.device)
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=model.device)
    named: Any = model.generation_config.eos_token_id
    ends: list[int] = named if isinstance(named, list) else [named] if named is not None else []
    settings = GenerationConfig(
        max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=ends or None, pad_token_id=ends[0] if ends else 0
    )
    model.eval()
    with _threads(model):
        begin = time.perf_counter()
        output: Any = model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
        seconds = time.perf_counter() - begin
    answers = [_up_to_end(row, ends) for row in output[:, width:].tolist()]
    return Answers(answers, round(sum(map(len, answers)) / seconds, 1))


@contextmanager
def _threads(model: Any) -> Generator[None]:
    """Let a small model on a CPU use one thread, unless the user chose a number."""
    import torch

    threads = torch.get_num_threads()
    if model.device.type == "cpu" and model.num_parameters() < SINGLE_THREAD_MAX_PARAMS:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _up_to_end(ids: list[int], ends: Sequence[int]) -> list[int]:
    """Return the ids up to and with the first that ends the answer."""
    stop = next((index + 1 for index, token in enumerate(ids) if token in ends), len(ids))
    return ids[:stop]


def following(model: Any, prompts: Sequence[list[int]], answers: Answers | None) -> float | None:
    """Return the share of the tokens of another model's answers that `model` would choose, too, with the tokens before
    as they are; None without answers."""
    if answers is None:
        return None
    import torch

    model.eval()
    equal = 0
    with torch.no_grad():
        for prompt, answer in zip(prompts, answers.ids, strict=True):
            logits = model(torch.tensor([prompt + answer], device=model.device), use_cache=False).logits[0]
            equal += sum(a == b for a, b in zip(logits[len(prompt) - 1 :].argmax(-1).tolist(), answer, strict=False))
    return round(equal / sum(map(len, answers.ids)), 4)


def agreement(expected: Answers | None, actual: Answers | None) -> dict[str, Any] | None:
    """Return the share of tokens that are equal at the same place of the same answer, and that of equal answers. Places
    that only the longer of two answers has count as different."""
    if expected is None or actual is None:
        return None
    pairs = list(zip(expected.ids, actual.ids, strict=True))
    places = sum(max(len(one), len(other)) for one, other in pairs)
    equal = sum(a == b for one, other in pairs for a, b in zip(one, other, strict=False))
    return {
        "prompts": len(pairs),
        "tokens": places,
        "token_agreement": round(equal / places, 4),
        "answer_agreement": round(sum(one == other for one, other in pairs) / len(pairs), 4),
    }


def require_following(name: str, share: float | None, minimum: float) -> None:
    """Check that a quantized model mostly chooses the tokens of its parent.

    Args:
        name: how the message begins.
        share: what `following` returns.

    Raises:
        MartletError: `share` is below `minimum`.
    """
    if share is not None and share < minimum:
        raise MartletError(
            f"{name}: the quantized model garbles: it chooses only {share:.0%} of the tokens of its parent's answers, "
            f"and min_agreement asks for {minimum:.0%}; take more bits or another method, or lower min_agreement"
        )
