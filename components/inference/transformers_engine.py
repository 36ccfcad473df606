"""The built-in engine: transformers' `generate`, batched over whatever is waiting.

One worker thread takes what is waiting, up to `max_batch_size`, pads on the left, and runs `generate` once. A stopping
criterion sees every new token of every row: it streams them, ends rows one by one, and ends the whole call when enough
work waits for the places that became free. What was unfinished then goes on in the next batch from all its tokens (the
recomputation that vLLM calls preemption). So every architecture that `generate` knows is batched continuously.
"""

import os
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jinja2 import TemplateError
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LogitsProcessorList,
    StoppingCriteriaList,
)
from transformers import GenerationConfig as HFGenerationConfig

from components.errors import MartletError
from components.inference.detokenize import TextStream
from components.inference.engine import GenerationConfig, Message, OnText, RequestError
from components.inference.rows import EachToken, Row
from components.inference.sampling import RowSampler, Sampler

VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "tekken.json")
SMALL_MODEL = 50_000_000  # parameters


def load(
    model: Path | str,
    adapter: Path | str | None = None,
    torch_dtype: str | None = None,
    attn_impl: str | None = None,
    max_batch_size: int = 16,
    max_model_len: int | None = None,
) -> "TransformersEngine":
    """Load a local model folder (full or quantized weights in safetensors), with a peft adapter on it if one is given.

    `torch_dtype` None keeps the stored one; `max_model_len` None takes the model's (tokens of prompt and answer). The
    tokenizer is the adapter's when its folder has one. Runs on CUDA, else MPS, else the CPU. No code of the folder is
    run. Raises MartletError when the folder does not load or the adapter does not apply.
    """
    folder = Path(model)
    if not (folder / "config.json").is_file():
        raise MartletError(f"{folder} is not a model folder: config.json is missing")
    tokenizer_folder = folder
    if adapter and (Path(adapter) / "tokenizer_config.json").is_file():
        tokenizer_folder = Path(adapter)
    if not any((tokenizer_folder / name).is_file() for name in VOCABULARIES):
        raise MartletError(f"{tokenizer_folder} has no tokenizer: none of {', '.join(VOCABULARIES)} is there")
    safe: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    try:
        tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder, **safe)
    except (OSError, ValueError) as error:
        raise MartletError(f"no tokenizer loads from {tokenizer_folder}: {error}") from error
    device = _device()
    try:
        loaded = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch_dtype or "auto",
            attn_implementation=attn_impl,
            device_map="auto" if device == "cuda" else device,
            use_safetensors=True,
            **safe,
        )
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise MartletError(f"no model loads from {folder}: {error}") from error
    if adapter:
        from components.inference.adapters import apply_adapter

        loaded = apply_adapter(loaded, Path(adapter))
    return TransformersEngine(loaded.eval(), tokenizer, max_batch_size, max_model_len)


def _device() -> str:
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


class TransformersEngine:
    """See `Engine` for the contract and the module's docstring for the method."""

    def __init__(self, model: Any, tokenizer: Any, max_batch_size: int = 16, max_model_len: int | None = None):
        self.model, self.tokenizer, self.max_batch_size = model, tokenizer, max_batch_size
        limit = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2048
        self.vocabulary = model.get_input_embeddings().num_embeddings
        self.max_model_len = min(max_model_len or limit, limit)
        own = model.generation_config
        self.defaults = GenerationConfig(
            temperature=(1.0 if own.temperature is None else own.temperature) if own.do_sample else 0.0,
            top_k=own.top_k or 0,
            top_p=own.top_p or 1.0,
            repetition_penalty=own.repetition_penalty or 1.0,
        )
        ends = own.eos_token_id if isinstance(own.eos_token_id, list) else [own.eos_token_id]
        self.eos = frozenset(token for token in [*ends, tokenizer.eos_token_id] if token is not None)
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else max(self.eos, default=0)
        # The rows end by our own criterion and are sampled by our own processor: nothing of the folder's settings
        # may act a second time inside `generate`.
        model.generation_config = HFGenerationConfig(pad_token_id=self.pad, do_sample=False)
        self.waiting: deque[Row] = deque()
        self._wake = threading.Condition()
        self.closed = False
        self._worker = threading.Thread(target=self._work, name="inference", daemon=True)
        self._worker.start()

    def encode(self, text: str) -> list[int]:
        return self.tokenizer(text)["input_ids"]

    def encode_chat(self, messages: list[Message], **template_kwargs: Any) -> list[int]:
        if not self.tokenizer.chat_template:
            raise RequestError(
                f"{self.tokenizer.name_or_path} has no chat template, so it cannot chat: use an instruction-tuned model"
            )
        settings = {"add_generation_prompt": True, **template_kwargs}
        try:
            rendered = self.tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, **settings)
        except (TemplateError, TypeError, ValueError, KeyError) as error:
            raise RequestError(f"the model's chat template refuses these messages: {error}") from error
        return rendered["input_ids"]

    def resolve(self, prompt_ids: list[int], generation: GenerationConfig) -> GenerationConfig:
        room = self.max_model_len - len(prompt_ids)
        if not prompt_ids:
            raise RequestError("the prompt is empty")
        if not 0 <= min(prompt_ids) <= max(prompt_ids) < self.vocabulary:
            raise RequestError(f"the prompt holds a token id outside the vocabulary, 0 to {self.vocabulary - 1}")
        if room < 1:
            raise RequestError(
                f"the prompt has {len(prompt_ids)} tokens and the model's context is {self.max_model_len} tokens;"
                " shorten the prompt",
                code="context_length_exceeded",
            )
        return replace(generation.over(self.defaults), max_new_tokens=min(generation.max_new_tokens or room, room))

    def submit(self, prompt_ids: list[int], generation: GenerationConfig, on_text: OnText | None = None) -> Future:
        generation = self.resolve(prompt_ids, generation)
        stream = TextStream(self._decode_text, generation.stop_words, on_text)
        plain = not generation.temperature and generation.repetition_penalty == 1
        sampler = None if plain else Sampler(generation, self.model.device)
        row = Row(list(prompt_ids), generation, stream, sampler, self.eos, Future())
        with self._wake:
            if self.closed:
                raise MartletError("the engine is closed")
            self.waiting.append(row)
            self._wake.notify()
        return row.future

    def close(self) -> None:
        with self._wake:
            self.closed = True
            for row in self.waiting:
                row.future.cancel()
            self.waiting.clear()
            self._wake.notify()
        self._worker.join()

    def _decode_text(self, ids: list[int]) -> str:
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def _work(self) -> None:
        # A small model gains next to nothing from a second thread (5 M parameters: -5 % for one row, +20 % for 16), and
        # loses 20 to 30 times when another process holds one of the cores that the threads must meet on.
        small = self.model.num_parameters() < SMALL_MODEL and self.model.device.type == "cpu"
        if small and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(1)
        running: list[Row] = []
        while True:
            with self._wake:
                while not (running or self.waiting or self.closed):
                    self._wake.wait()
                while self.waiting and len(running) < self.max_batch_size:
                    running.append(self.waiting.popleft())
                running = [row for row in running if not row.future.cancelled()]
            try:
                self._generate(running)
            except Exception as error:  # whatever went wrong belongs to these requests; the engine goes on
                for row in running:
                    row.fail(error)
            running = [row for row in running if not row.finished]
            if self.closed:
                for row in running:
                    row.future.cancel()
                return

    def _generate(self, rows: list[Row]) -> None:
        ids = [row.prompt + row.generated for row in rows]
        width = max(map(len, ids), default=0)
        if not width:
            return
        padding = [width - len(row) for row in ids]
        input_ids = torch.tensor([[self.pad] * pad + row for pad, row in zip(padding, ids, strict=True)])
        mask = torch.tensor([[0] * pad + [1] * (width - pad) for pad in padding])
        processors = LogitsProcessorList([RowSampler(rows, padding)] if any(row.sampler for row in rows) else [])
        self.model.generate(
            input_ids=input_ids.to(self.model.device),
            attention_mask=mask.to(self.model.device),
            logits_processor=processors,
            stopping_criteria=StoppingCriteriaList([EachToken(self, rows)]),
            max_new_tokens=max(row.left for row in rows),
        )
