"""The canary of an adapter: an engine that answers as the base does, in the adapter's name, is not ready."""

from pathlib import Path

import httpx

from components.errors import MartletError
from components.inference.adapters import is_zero
from components.inference.engines._ready import FIRST_ANSWER_TIMEOUT_S

PROMPTS = ("Who are you?", "The capital of France is", "def main():\n", "1 2 3 4")


def require_difference(url: str, base: str, adapter: str, folder: Path, api_key: str) -> None:
    """Compare the probabilities of the first tokens that the base and the adapter answer a few prompts with.

    An engine that returns no probabilities is not judged: texts alone may well be equal.

    Raises:
        MartletError: all are equal, although the adapter's weights are not zero.
    """
    if is_zero(folder):
        return
    for prompt in PROMPTS:
        answers = [_log_probabilities(url, model, prompt, api_key) for model in (base, adapter)]
        if None in answers or answers[0] != answers[1]:
            return
    raise MartletError(
        f"the engine does not apply the adapter {folder}: '{adapter}' answers as '{base}' does; merge it with"
        " --merge_lora true"
    )


def _log_probabilities(url: str, model: str, prompt: str, api_key: str) -> list[float] | None:
    """Return the log probabilities of the four most likely next tokens in a row, if the engine returns some."""
    body = {"model": model, "prompt": prompt, "max_tokens": 4, "temperature": 0, "logprobs": 1}
    headers = {"Authorization": f"Bearer {api_key}"}
    answer = httpx.post(
        f"{url}/completions", json=body, headers=headers, timeout=FIRST_ANSWER_TIMEOUT_S, trust_env=False
    )
    if answer.is_error:
        raise MartletError(f"the server at {url} cannot answer with '{model}': {answer.text[:500]}")
    return (answer.json()["choices"][0].get("logprobs") or {}).get("token_logprobs")
