"""The engine of a command that asks a model itself: in this process, or a program whose server it starts and asks."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from components import models
from components.inference import ENGINES, LocalEngine, Prompts
from components.media import load_processor
from tasks import serving
from tasks.loading import load
from tasks.prompts import prompts
from tasks.stages.paths import plugin_files
from tasks.target import Target

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

LOCAL_BACKENDS = ("transformers", "pt")
TOKENIZER = "tokenizer_config.json"
DEFAULT_MAX_MODEL_LEN = 2048
"""Tokens of context for a model whose configuration names no limit."""


@contextmanager
def engine_of(target: Target) -> Generator[LocalEngine]:
    """Enter with the engine that `infer_backend` names, over the model of a command.

    Raises:
        ConfigError: there is no such engine, or it cannot serve this model.
    """
    generation = target.params.generation
    ENGINES.file(generation.infer_backend, plugin_files(target.params, Path.cwd()))  # a misspelt name is an error
    engine_of_backend = _local if generation.infer_backend in LOCAL_BACKENDS else _served
    with engine_of_backend(target) as engine:
        yield engine


@contextmanager
def _local(target: Target) -> Generator[LocalEngine]:
    from components.inference.transformers_engine import TransformersEngine

    params, external = target.params, plugin_files(target.params, Path.cwd())
    precision, attention = params.train.torch_dtype, params.train.attn_impl
    model, tokenizer = load(target.model, target.adapter, precision, attention, params.quantization, external)
    limits = (params.generation.max_batch_size, params.generation.max_model_len)
    engine = TransformersEngine(model, tokenizer, _prompts(target)(tokenizer), *limits)
    try:
        yield engine
    finally:
        engine.close()


@contextmanager
def _served(target: Target) -> Generator[LocalEngine]:
    """Start the engine's server on a free port of loopback, and ask it with token ids of our own."""
    from components.inference.remote_engine import RemoteEngine

    params = target.params
    own = params.model_copy(update={"serve": params.serve.model_copy(update={"port": 0, "host": "127.0.0.1"})})
    places = [folder for folder in (target.adapter, target.model) if folder and (folder / TOKENIZER).is_file()]
    tokenizer = models.load_tokenizer(places[0] if places else target.model)
    limit = models.context_length(target.model) or DEFAULT_MAX_MODEL_LEN
    with serving.deployed(target._replace(params=own), None) as url:
        engine = RemoteEngine(
            url,
            serving.served_name(params),
            tokenizer,
            _prompts(target)(tokenizer),
            min(params.generation.max_model_len or limit, limit),
            replace(serving.generation_settings(params), stop_words=[]),
        )
        try:
            yield engine
        finally:
            engine.close()


def _prompts(target: Target) -> "Callable[[PreTrainedTokenizerBase], Prompts]":
    """Return what asks the model, without the system prompt: chats and rows bring their own."""
    template = target.params.template.model_copy(update={"system": None})
    return prompts(template, load_processor(target.model, target.params.multimodal, Path.cwd()))
