"""The built-in engine: transformers' `generate`, batched over the waiting requests.

One worker thread takes up to `max_batch_size` requests, pads them on the left, and runs `generate` once. A stopping
criterion sees every new token of every request: it streams tokens, finishes requests one by one, and ends the call
when enough work waits for the free places. Unfinished requests go on in the next batch from all their tokens (what
vLLM calls preemption by recomputation). So every architecture that `generate` knows is batched continuously. Long
prompts are read in chunk by chunk, and a client that would wait long for a place is answered between two forward passes
of the batch.
"""

import math
import os
import threading
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from inspect import signature
from typing import Any

import torch
from transformers import DynamicCache, LogitsProcessorList, StoppingCriteriaList
from transformers import GenerationConfig as HFGenerationConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from components.inference.api import GenerationConfig, Message, OnText, Prompts, RequestError
from components.inference.detokenize import TextStream
from components.inference.requests import Request, RequestQueue
from components.inference.sampling import Sampler
from components.inference.steps import AbandonedError, BatchSampler, BatchSteps

SINGLE_THREAD_MAX_PARAMS = 50_000_000
DEFAULT_MAX_MODEL_LEN = 2048
"""Tokens of context for a model whose configuration names no limit."""
CPU_CHUNK_TOKENS, CHUNK_TOKENS = 512, 2048
"""Tokens of prompts, padding included, that one forward pass reads in, on a CPU and elsewhere."""


class TransformersEngine:
    """A LocalEngine over a loaded model and its tokenizer.

    Args:
        prompts: makes the token ids of conversations.
        max_batch_size: requests generated together.
        max_model_len: tokens of prompt and answer; None is the model's own limit.
        generation: the settings of requests that name none; its `stop_words` end every answer.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        prompts: Prompts,
        max_batch_size: int = 16,
        max_model_len: int | None = None,
        generation: GenerationConfig | None = None,
    ) -> None:
        self.model, self.tokenizer, self.prompts = model.eval(), tokenizer, prompts
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or DEFAULT_MAX_MODEL_LEN
        self.vocabulary = model.get_input_embeddings().num_embeddings
        self.max_model_len = min(max_model_len or limit, limit)
        self.defaults = (generation or GenerationConfig()).over(_defaults(model.generation_config))
        self.eos = _end_tokens(model.generation_config, tokenizer)
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else max(self.eos, default=0)
        # BatchSteps ends requests and BatchSampler samples; `generate` must not apply the folder's settings again.
        model.generation_config = HFGenerationConfig(pad_token_id=self.pad, do_sample=False)
        self._chunk_tokens = _chunk_tokens(model)
        self._queue, self._steps = RequestQueue(max_batch_size), None
        getattr(model, "get_base_model", lambda: model)().register_forward_pre_hook(self._before_pass)
        self._worker = threading.Thread(target=self._work, name="inference", daemon=True)
        self._worker.start()

    def encode(self, text: str) -> list[int]:
        return self.tokenizer(text)["input_ids"]

    def encode_chat(
        self,
        messages: list[Message],
        tools: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **template_kwargs: Any,
    ) -> list[int]:
        try:
            return self.prompts(messages, tools, template_kwargs, add_generation_prompt)
        except ValueError as error:
            raise RequestError(f"the model cannot be asked this: {error}") from error

    def resolve(self, prompt_ids: list[int], generation: GenerationConfig) -> GenerationConfig:
        if not prompt_ids:
            raise RequestError("the prompt is empty")
        if not 0 <= min(prompt_ids) <= max(prompt_ids) < self.vocabulary:
            raise RequestError(f"the prompt holds a token id outside the vocabulary, 0 to {self.vocabulary - 1}")
        room = self.max_model_len - len(prompt_ids)
        if room < 1:
            raise RequestError(
                f"the prompt has {len(prompt_ids)} tokens and the model's context is {self.max_model_len} tokens;"
                " shorten the prompt",
                code="context_length_exceeded",
            )
        settings = generation.over(self.defaults)
        stop_words = list(dict.fromkeys((*self.defaults.stop_words, *generation.stop_words)))
        return replace(settings, max_new_tokens=min(settings.max_new_tokens or room, room), stop_words=stop_words)

    def submit(
        self,
        prompt_ids: list[int],
        generation: GenerationConfig,
        on_text: OnText | None = None,
        source: object | None = None,
    ) -> Future:
        generation = self.resolve(prompt_ids, generation)
        stream = TextStream(self._decode, generation.stop_words, on_text)
        is_greedy = not generation.temperature and generation.repetition_penalty == 1
        sampler = None if is_greedy else Sampler(generation, self.model.device)
        request = Request(prompt_ids, generation, stream, sampler, self.eos, Future(), source or object())
        self._queue.put(request)
        return request.future

    def close(self) -> None:
        self._queue.close()
        self._worker.join()

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _work(self) -> None:
        # A small model gains next to nothing from a second thread (5 M parameters: -5 % for one request, +20 % for 16),
        # and loses 20 to 30 times when another process holds one of the cores that the threads must meet on.
        is_small = self.model.num_parameters() < SINGLE_THREAD_MAX_PARAMS and self.model.device.type == "cpu"
        if is_small and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(1)
        unfinished: list[Request] = []
        while not self._queue.closed:
            unfinished = self._advance(self._queue.next_batch(unfinished))
        for request in unfinished:
            request.future.cancel()

    def _before_pass(self, _model: Any, _inputs: Any) -> None:
        if self._steps:
            self._steps.before_pass()

    def _advance_aside(self, batch: list[Request]) -> None:
        self._queue.put_back(self._advance(batch))

    def _advance(self, batch: list[Request]) -> list[Request]:
        """Generate for a batch and return its unfinished requests. An error belongs to the requests of the batch."""
        outer = self._steps
        self._steps = BatchSteps(batch, self._queue, self._advance_aside, self._chunk_tokens, outer)
        try:
            with suppress(AbandonedError):
                self._generate(batch, self._steps)
        except Exception as error:
            for request in batch:
                request.fail(error)
        finally:
            self._steps = outer
        return [request for request in batch if not request.finished]

    def _generate(self, batch: list[Request], steps: BatchSteps) -> None:
        """Run `generate` on the tokens of a batch until BatchSteps ends the call."""
        ids = [request.prompt + request.generated for request in batch]
        width = max(map(len, ids), default=0)
        if not width:
            return
        padding = [width - len(row) for row in ids]
        input_ids = torch.tensor([[self.pad] * pad + row for pad, row in zip(padding, ids, strict=True)])
        mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in padding])
        is_long = len(batch) * width > self._chunk_tokens
        any_sampled = any(request.sampler for request in batch)
        self.model.generate(
            input_ids=input_ids.to(self.model.device),
            attention_mask=mask.to(self.model.device),
            logits_processor=LogitsProcessorList([BatchSampler(batch, padding)] if any_sampled else []),
            stopping_criteria=StoppingCriteriaList([steps]),
            max_new_tokens=max(request.remaining_tokens for request in batch),
            prefill_chunk_size=max(1, int(self._chunk_tokens // len(batch))) if is_long else None,
        )


def _defaults(own: HFGenerationConfig) -> GenerationConfig:
    """Return the settings of the model's generation_config.json."""
    return GenerationConfig(
        temperature=(1.0 if own.temperature is None else own.temperature) if own.do_sample else 0.0,
        top_k=own.top_k or 0,
        top_p=own.top_p or 1.0,
        repetition_penalty=own.repetition_penalty or 1.0,
    )


def _end_tokens(own: HFGenerationConfig, tokenizer: Any) -> frozenset[int]:
    ends = own.eos_token_id if isinstance(own.eos_token_id, list) else [own.eos_token_id]
    return frozenset(token for token in [*ends, tokenizer.eos_token_id] if token is not None)


def _chunk_tokens(model: Any) -> float:
    """Return the most tokens that one forward pass reads in: no limit for models whose layers do not all attend to a
    cache, and for those that turn the positions by the length so far."""
    base = getattr(model, "get_base_model", lambda: model)()
    config = base.config.get_text_config()
    others = {type(layer) for layer in DynamicCache(config=config).layers} - {DynamicLayer, DynamicSlidingWindowLayer}
    has_cache = "past_key_values" in signature(base.forward).parameters and getattr(config, "use_cache", True)
    rope_types = " ".join(str(getattr(module, "rope_type", "")) for module in base.modules())
    if not has_cache or others or "dynamic" in rope_types or "longrope" in rope_types:
        return math.inf
    return CPU_CHUNK_TOKENS if base.device.type == "cpu" else CHUNK_TOKENS
