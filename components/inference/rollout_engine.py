"""vLLM as the engine of reinforcement learning: answers by an adapter that is loaded anew after each step, as the token
ids that were drawn and their log probabilities."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from components.errors import MartletError
from components.inference.api import Answer, Completion, GenerationConfig, OnText, RequestError, TokenLogprob
from components.inference.remote_engine import RemoteEngine, body_of

ADVICE = (
    "start vLLM with VLLM_ALLOW_RUNTIME_LORA_UPDATING=1, --enable-lora and --max-lora-rank, on a machine that sees the "
    "same files"
)


class RolloutEngine(RemoteEngine):
    """A RemoteEngine over a vLLM that takes up adapters while it runs.

    Args:
        root: where it listens, `http://HOST:PORT`, without `/v1`.
        tokenizer: the model's.
        api_key: the key that it demands, or None.

    Raises:
        MartletError: nothing answers there, or something else than vLLM.
    """

    def __init__(self, root: str, tokenizer: Any, api_key: str | None):
        super().__init__(f"{root}/v1", "", tokenizer, _no_chat, 0, GenerationConfig(), api_key)
        self.root = root
        try:
            self.max_model_len: int = self._sent("GET", "/models").json()["data"][0]["max_model_len"]
        except (ValueError, LookupError, TypeError) as error:
            raise MartletError(f"use_vllm: what answers at {root} is no vLLM; {ADVICE}") from error

    def adopt(self, name: str, folder: Path) -> None:
        """Load an adapter folder, from which answers come from now on, and forget the one before.

        Raises:
            MartletError: vLLM does not take it.
        """
        former, self.model = self.model, name
        try:
            self._sent("POST", "/load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
        except RequestError as error:
            raise MartletError(f"use_vllm: vLLM at {self.root} does not take the adapter: {error}; {ADVICE}") from error
        if former:
            self._sent("POST", "/unload_lora_adapter", {"lora_name": former})

    def submit_all(self, prompts: Sequence[list[int]], generations: Sequence[GenerationConfig]) -> list[Answer]:
        """Ask for the answers to prompts, each with its settings, and return their futures."""
        return [self.submit(*pair) for pair in zip(prompts, generations, strict=True)]

    def forget(self) -> None:
        """Do nothing: vLLM keeps what belongs to an adapter under the adapter's name."""

    def _answer(
        self,
        answer: Answer,
        ids: list[int],
        generation: GenerationConfig,
        on_text: OnText | None,  # noqa: ARG002
    ) -> None:
        try:
            answer.set_result(self._completion(ids, generation))
        except Exception as error:
            answer.set_exception(error)

    def _completion(self, ids: list[int], generation: GenerationConfig) -> Completion:
        wanted = {"stream": False, "return_token_ids": True, "logprobs": 0}
        body = body_of(self.model, ids, generation) | wanted | {"skip_special_tokens": generation.skip_special_tokens}
        [choice] = self._sent("POST", "/completions", body).json()["choices"]
        tokens, log_probs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
        pairs = zip(tokens, log_probs, strict=True)
        reason = "length" if choice["finish_reason"] == "length" else "stop"
        return Completion(
            choice["text"], tokens, len(ids), reason, logprobs=[TokenLogprob(*pair, top=[]) for pair in pairs]
        )

    def _sent(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        """Return a successful response.

        Raises:
            RequestError: vLLM refuses the request.
            MartletError: it is gone, or fails.
        """
        try:
            response = self._http.request(method, path, json=body)
        except httpx.HTTPError as error:
            message = f"use_vllm: vLLM at {self.root} does not answer: {error or type(error).__name__}"
            raise MartletError(message) from error
        if response.is_error:
            kind = RequestError if response.is_client_error else MartletError
            raise kind(f"vLLM answers {response.status_code}: {response.text[:300]}")
        return response


def _no_chat(*_: Any) -> list[int]:
    raise AssertionError("prompts are token ids already")
