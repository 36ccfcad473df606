"""Inference: one engine, three ways to use it (a server that speaks the OpenAI API, a terminal chat, a batch run).

    engine = engine_for("transformers")(folder, adapter=None)
    serve(engine, served_model_name="martlet")              # blocks; or `with serving(engine, "martlet") as base_url:`
    chat(engine, system="You are a helpful assistant.")     # a terminal, or one query per piped line
    for row in infer_dataset(engine, conversations): ...    # one answer per conversation, in order

An engine is whatever follows `Engine`: it turns messages into token ids with the model's own chat template and answers
`submit(ids, generation)` with a future. `transformers_engine.py` is the built-in one; another engine is another file
beside it and one entry in `ENGINES`. Nothing heavy is imported before an engine is loaded or a server made.
"""

from components.inference.batch import infer_dataset
from components.inference.chat import chat
from components.inference.engine import (
    Completion,
    Engine,
    GenerationConfig,
    RequestError,
    engine_for,
    load_engine,
    stream_text,
)
from components.inference.server import bind, create_app, serve, serving

__all__ = [
    "Completion",
    "Engine",
    "GenerationConfig",
    "RequestError",
    "bind",
    "chat",
    "create_app",
    "engine_for",
    "infer_dataset",
    "load_engine",
    "serve",
    "serving",
    "stream_text",
]
