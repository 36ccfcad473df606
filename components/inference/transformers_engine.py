"""The built-in engine: a model of transformers in this process, whose requests are batched continuously.

Models whose layers are all attention keep their sequences in slots of one cache (`slot_worker.py`); every other
architecture, and models that see or hear, are computed by transformers' `generate` (`generate_worker.py`). Either way
one thread computes, and the answers arrive through futures.
"""

import copy
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from transformers import GenerationConfig as HFGenerationConfig

from components.inference.api import Answer, GenerationConfig, OnText, Prompts, RequestError
from components.inference.detokenize import TextStream, step_of
from components.inference.generate_worker import GenerateWorker
from components.inference.grammar import Grammars
from components.inference.on_device import batch_size, spare_threads
from components.inference.prompt_encoder import PromptEncoder
from components.inference.requests import Request, RequestQueue
from components.inference.sampling import Sampler, needs_sampler
from components.inference.slot_worker import SlotWorker
from components.inference.slots import GROWTH_TOKENS, SlotModel, has_slots
from components.media import KINDS, MediaPrompt
from components.towers import has_towers

DEFAULT_MAX_MODEL_LEN = 2048
"""Tokens of context for a model whose configuration names no limit."""
CPU_CHUNK_TOKENS, CHUNK_TOKENS = 512, 2048
"""Most tokens of prompts, padding included, that are read in between two steps, on a CPU and elsewhere."""


class TransformersEngine(PromptEncoder):
    """A LocalEngine over a loaded model and its tokenizer.

    Args:
        prompts: makes the token ids of conversations.
        max_batch_size: requests generated together; None is 64 on a CPU, 128 elsewhere, where a pass takes as long
            for many sequences as for one.
        max_model_len: tokens of prompt and answer; None is the model's own limit.
        generation: the settings of requests that name none; its `stop_words` end every answer.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        prompts: Prompts,
        max_batch_size: int | None = None,
        max_model_len: int | None = None,
        generation: GenerationConfig | None = None,
    ) -> None:
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or DEFAULT_MAX_MODEL_LEN
        super().__init__(tokenizer, prompts)
        self.max_model_len = min(max_model_len or limit, limit)
        self.vocabulary = model.get_input_embeddings().num_embeddings
        self.media_tokens = _media_tokens(model.config)
        own = model.generation_config
        self.own_defaults, self.eos = _defaults(own), _end_tokens(own, tokenizer)
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else max(self.eos, default=0)
        if self.pad >= self.vocabulary:  # a tokenizer with more tokens than the model
            self.pad = 0
        # The workers end requests and sample; `generate` must not apply the folder's settings again.
        model.generation_config = HFGenerationConfig(pad_token_id=self.pad, do_sample=False)
        self._queue = RequestQueue(max_batch_size or batch_size(model))
        self._take(model, prompts, generation)
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)
        self._thread.start()

    def _take(self, model: Any, prompts: Prompts, generation: GenerationConfig | None) -> None:
        self.model, self.prompts = model.eval(), prompts
        self.defaults = (generation or GenerationConfig()).over(self.own_defaults)

    def beside(self, model: Any, prompts: Prompts, generation: GenerationConfig | None = None) -> "TransformersEngine":
        """Return an engine for `model`, which is this one's base with an adapter; the requests of both share batches.

        It ends when this engine is closed.
        """
        other = copy.copy(self)
        other._take(model, prompts, generation)
        return other

    @cached_property
    def grammars(self) -> Grammars:
        """The grammars of answers; reading the vocabulary for them takes a moment."""
        return Grammars(self.tokenizer, self.vocabulary, self.eos)

    def resolve(self, prompt_ids: list[int], generation: GenerationConfig) -> GenerationConfig:
        if not prompt_ids:
            raise RequestError("the prompt is empty")
        if not 0 <= min(prompt_ids) <= max(prompt_ids) < self.vocabulary:
            raise RequestError(f"the prompt holds a token id outside the vocabulary, 0 to {self.vocabulary - 1}")
        if not isinstance(prompt_ids, MediaPrompt) and (ids := self.media_tokens.intersection(prompt_ids)):
            raise RequestError(f"the prompt holds {self.decode([min(ids)])}, which stands for a medium, and has none")
        room = self.max_model_len - len(prompt_ids)
        if room < 1:
            raise RequestError(
                f"the prompt has {len(prompt_ids)} tokens and the model's context is {self.max_model_len} tokens;"
                " shorten the prompt",
                code="context_length_exceeded",
            )
        if bias := [token for token in generation.logit_bias or {} if not 0 <= token < self.vocabulary]:
            raise RequestError(f"logit_bias: {bias[0]} is no token id; they are 0 to {self.vocabulary - 1}")
        if generation.grammar:
            self.grammars.rules(generation.grammar)
        settings = generation.over(self.defaults)
        stop_words = list(dict.fromkeys((*self.defaults.stop_words, *generation.stop_words)))
        return replace(settings, max_new_tokens=min(settings.max_new_tokens or room, room), stop_words=stop_words)

    def submit(
        self,
        prompt_ids: list[int],
        generation: GenerationConfig,
        on_text: OnText | None = None,
        source: object | None = None,
    ) -> Answer:
        request = self._request(prompt_ids, generation, on_text, source)
        self._queue.put(request)
        return request.future

    def submit_all(self, prompts: Sequence[list[int]], generations: Sequence[GenerationConfig]) -> list[Answer]:
        """Queue prompts, each with its settings, before the first of them is computed, and return their futures. Equal
        calls on an idle engine are computed in the same batches, and so give equal tokens."""
        source = object()
        requests = [self._request(*pair, None, source) for pair in zip(prompts, generations, strict=True)]
        self._queue.put(*requests)
        return [request.future for request in requests]

    def forget(self) -> None:
        """Wait until all answers are given, and drop what is kept of their prompts: the weights are about to change."""
        self._queue.wait_idle()
        if isinstance(worker := getattr(self, "_worker", None), SlotWorker):
            worker.slots.clear()
            worker.model.cache.resize(1, GROWTH_TOKENS)

    def _request(
        self, prompt_ids: list[int], generation: GenerationConfig, on_text: OnText | None, source: object | None
    ) -> Request:
        generation = self.resolve(prompt_ids, generation)
        skips = generation.skip_special_tokens
        decode = self._decode if skips else self.decode
        stream = TextStream(decode, generation.stop_words, on_text, step_of(self.tokenizer, skips))
        sampler = None
        if needs_sampler(generation):
            matcher = self.grammars.matcher(generation.grammar) if generation.grammar else None
            sampler = Sampler(generation, self.model.device, len(prompt_ids), matcher)
        return Request(self.model, prompt_ids, generation, stream, sampler, self.eos, Answer(), source or object())

    def _decode(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def load(self) -> tuple[int, int]:
        return self._queue.load()

    def close(self) -> None:
        self._queue.close()
        self._thread.join()

    def _work(self) -> None:
        try:
            self._compute()
        except Exception as error:  # of the engine itself: nobody must wait for ever
            self._queue.fail(error)
            raise

    def _compute(self) -> None:
        spare_threads(self.model)
        is_cpu = self.model.device.type == "cpu"
        if not has_towers(self.model) and has_slots(self.model):
            slots = SlotModel(self.model, self.pad, self.max_model_len)
            self._worker = SlotWorker(slots, self._queue, CPU_CHUNK_TOKENS if is_cpu else CHUNK_TOKENS)
        else:
            self._worker = GenerateWorker(self._queue, self.pad)
        self._worker.run()


def _defaults(own: HFGenerationConfig) -> GenerationConfig:
    """Return the settings of the model's generation_config.json."""
    return GenerationConfig(
        temperature=(1.0 if own.temperature is None else own.temperature) if own.do_sample else 0.0,
        top_k=own.top_k or 0,
        top_p=own.top_p or 1.0,
        repetition_penalty=own.repetition_penalty or 1.0,
    )


def _media_tokens(config: Any) -> frozenset[int]:
    """Return the token ids that stand for media in a prompt."""
    names = (f"{kind}_token_{end}" for kind in KINDS for end in ("id", "index"))
    return frozenset(token for name in names if isinstance(token := getattr(config, name, None), int))


def _end_tokens(own: HFGenerationConfig, tokenizer: Any) -> frozenset[int]:
    ends = own.eos_token_id if isinstance(own.eos_token_id, list) else [own.eos_token_id]
    return frozenset(token for token in [*ends, tokenizer.eos_token_id] if token is not None)
