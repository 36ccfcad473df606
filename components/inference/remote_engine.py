"""An engine behind OpenAI's API as an engine in this process: prompts are rendered and tokenised here, as in training,
and sent as token ids."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import httpx

from components.errors import MartletError
from components.inference.api import Answer, Completion, GenerationConfig, OnText, Prompts, RequestError
from components.inference.prompt_encoder import PromptEncoder
from components.media import MediaPrompt

REQUESTS_AT_A_TIME = 64
TIMEOUT_S = 600
END = "data: [DONE]"


class RemoteEngine(PromptEncoder):
    """A LocalEngine over a server.

    Args:
        url: the base URL, `http://HOST:PORT/v1`.
        model: the name of the model there.
        tokenizer: the model's tokenizer.
        prompts: makes the token ids of conversations.
        max_model_len: tokens of prompt and answer.
        generation: the settings of requests that name none.
        api_key: the key that the server demands, or None.
    """

    def __init__(
        self,
        url: str,
        model: str,
        tokenizer: Any,
        prompts: Prompts,
        max_model_len: int,
        generation: GenerationConfig,
        api_key: str | None = None,
    ):
        super().__init__(tokenizer, prompts)
        self.model, self.max_model_len, self.defaults = model, max_model_len, generation
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        limits = httpx.Limits(max_connections=REQUESTS_AT_A_TIME)
        self._http = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, limits=limits, trust_env=False)
        self._threads = ThreadPoolExecutor(REQUESTS_AT_A_TIME, thread_name_prefix="request")

    def resolve(self, prompt_ids: list[int], generation: GenerationConfig) -> GenerationConfig:
        room = self.max_model_len - len(prompt_ids)
        if not prompt_ids or room < 1:
            raise RequestError(
                f"the prompt has {len(prompt_ids)} tokens and the model's context is {self.max_model_len} tokens",
                code="context_length_exceeded",
            )
        settings = generation.over(self.defaults)
        return replace(settings, max_new_tokens=min(settings.max_new_tokens or room, room))

    def submit(
        self,
        prompt_ids: list[int],
        generation: GenerationConfig,
        on_text: OnText | None = None,
        source: object | None = None,  # noqa: ARG002  # the server knows its clients
    ) -> Answer:
        if isinstance(prompt_ids, MediaPrompt):
            raise RequestError("media reach this engine through `martlet deploy` alone; or leave --infer_backend out")
        generation, answer = self.resolve(prompt_ids, generation), Answer()
        self._threads.submit(self._answer, answer, prompt_ids, generation, on_text)
        return answer

    def load(self) -> tuple[int, int]:
        return 0, 0

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._http.close()

    def _answer(self, answer: Answer, ids: list[int], generation: GenerationConfig, on_text: OnText | None) -> None:
        """Ask the server and complete `answer`; a cancelled answer closes the connection, which ends the generation."""
        text, reason = "", "stop"
        try:
            for choice in self._choices(body_of(self.model, ids, generation)):
                if answer.cancelled():
                    return
                text, reason = text + choice["text"], choice["finish_reason"] or reason
                if on_text and choice["text"]:
                    on_text(choice["text"])
            if not answer.cancelled():
                end: Any = "length" if reason == "length" else "stop"
                answer.set_result(Completion(text, self.encode(text, False), len(ids), end))
        except Exception as error:
            if not answer.cancelled():
                answer.set_exception(error)

    def _choices(self, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the pieces of one streamed answer.

        Raises:
            RequestError: the server refuses the request.
            MartletError: the server is gone, or fails.
        """
        try:
            with self._http.stream("POST", "/completions", json=body) as response:
                if response.is_error:
                    response.read()
                    kind = RequestError if response.is_client_error else MartletError
                    raise kind(f"the engine answers {response.status_code}: {response.text[:500]}")
                for line in response.iter_lines():
                    if line == END:
                        return
                    if line.startswith("data: "):
                        event = json.loads(line.removeprefix("data: "))
                        if "error" in event:
                            raise MartletError(f"the engine fails: {event['error'].get('message', event['error'])}")
                        yield from event["choices"]
        except httpx.HTTPError as error:
            raise MartletError(f"the engine is gone: {error or type(error).__name__}") from error
        raise MartletError("the engine ended in the middle of an answer")


def body_of(model: str, ids: list[int], generation: GenerationConfig) -> dict[str, Any]:
    """Return the request of a completion; settings that are None are the server's."""
    settings = {
        "max_tokens": generation.max_new_tokens,
        "temperature": generation.temperature,
        "top_p": generation.top_p,
        "top_k": generation.top_k,
        "repetition_penalty": generation.repetition_penalty,
        "seed": generation.seed,
        "stop": generation.stop_words or None,
    }
    named = {name: value for name, value in settings.items() if value is not None}
    return {"model": model, "prompt": ids, "stream": True, **named}
