"""Readiness of a server: one real completion. A health check passes before the model has computed anything."""

import httpx

from components.errors import MartletError

FIRST_ANSWER_TIMEOUT_S = 300


def require_completion(url: str, model: str, api_key: str | None) -> None:
    """Ask the server at the base URL `url` for one token.

    Raises:
        MartletError: the server does not answer, or answers with an error.
    """
    body = {"model": model, "prompt": "Hello", "max_tokens": 1}
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        answer = httpx.post(
            f"{url}/completions", json=body, headers=headers, timeout=FIRST_ANSWER_TIMEOUT_S, trust_env=False
        )
    except httpx.HTTPError as error:
        raise MartletError(f"the server at {url} does not answer: {error or type(error).__name__}") from error
    if answer.is_error:
        raise MartletError(f"the server at {url} cannot answer with this model: {answer.text[:500]}")
