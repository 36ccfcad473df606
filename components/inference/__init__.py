"""Inference: a model served with OpenAI's API by an engine, or run in this process for a chat and for batches.

    with ENGINES.load("transformers").served(folder, [], ServeSettings(load, prompts, ["martlet"])) as url: ...

    engine = TransformersEngine(model, tokenizer, prompts)           # from transformers_engine.py
    chat(engine, system="You are a helpful assistant.")             # at a terminal, or one query per piped line
    for answer in infer_dataset(engine, conversations): ...         # in the order of the conversations
    engine.close()

`engines/` holds one file per engine. Importing this package imports nothing heavy.
"""

from components.inference.address import bind, key_or_none
from components.inference.api import (
    Completion,
    GenerationConfig,
    LocalEngine,
    Prompts,
    RequestError,
    stream_text,
)
from components.inference.batch import Question, infer_dataset, replies, without_reference
from components.inference.chat import Attachments, chat
from components.inference.engines import ENGINES, Engine, ServeSettings
from components.inference.read_answer import hides_calls, read_answer
from components.inference.server import serving

__all__ = [
    "ENGINES",
    "Attachments",
    "Completion",
    "Engine",
    "GenerationConfig",
    "LocalEngine",
    "Prompts",
    "Question",
    "RequestError",
    "ServeSettings",
    "bind",
    "chat",
    "hides_calls",
    "infer_dataset",
    "key_or_none",
    "read_answer",
    "replies",
    "serving",
    "stream_text",
    "without_reference",
]
