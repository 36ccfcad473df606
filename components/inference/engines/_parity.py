"""Parity of prompts: an engine makes the token ids of a conversation on which the model was trained."""

from pathlib import Path
from typing import Any

import httpx

from components.errors import MartletError
from components.inference.api import Message, Prompts
from components.inference.engines import ServeSettings
from components.inference.engines._description import Description
from components.inference.engines._ready import FIRST_ANSWER_TIMEOUT_S

QUESTION: Message = {"role": "user", "content": "Who are you?"}
CONVERSATIONS: tuple[list[Message], ...] = (
    [QUESTION],
    [QUESTION, {"role": "assistant", "content": "An assistant."}, {"role": "user", "content": " And\nI? "}],
)


def require_parity(url: str, model: Description, settings: ServeSettings, api_key: str) -> None:
    """Compare what vLLM's `/tokenize` returns for conversations with what each model is asked in training.

    Raises:
        MartletError: token ids differ.
    """
    folders = dict.fromkeys(settings.names) | dict(model.adapters)
    for name, folder in folders.items():
        prompts = settings.prompts(_tokenizer(model, folder), folder)
        for messages in CONVERSATIONS:
            _require_equal(url, name, messages, prompts, api_key)


def _tokenizer(model: Description, adapter: Path | None) -> Any:
    """Return the tokenizer of an adapter, or the model's where the adapter's folder holds none."""
    from transformers import AutoTokenizer

    has_own = adapter and (adapter / "tokenizer_config.json").is_file()
    folder = adapter if has_own and not model.trust_remote_code else model.model
    return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=model.trust_remote_code)


def _require_equal(url: str, name: str, messages: list[Message], prompts: Prompts, api_key: str) -> None:
    expected = prompts(messages, None, {}, True)
    answer = httpx.post(
        f"{url.removesuffix('/v1')}/tokenize",
        json={"model": name, "messages": messages, "add_generation_prompt": True},
        headers={"Authorization": f"Bearer {api_key}"},
        timeout=FIRST_ANSWER_TIMEOUT_S,
        trust_env=False,
    )
    tokens = answer.json().get("tokens")
    if tokens != expected:
        raise MartletError(
            f"the engine does not ask '{name}' as it was trained: it makes the tokens {tokens} of {messages}, and the"
            f" training {expected}; adapters with different templates or system prompts need a command each, or use"
            " --infer_backend transformers"
        )
