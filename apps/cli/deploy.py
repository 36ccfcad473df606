"""Serve a model with OpenAI's API: a checkpoint (--adapters), a model (--model), or the champion.

  martlet deploy --port 8000
  curl http://127.0.0.1:8000/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{"model": "martlet-demo", "messages": [{"role": "user", "content": "Who are you?"}]}'
"""

import argparse
import os
from typing import Any

from apps.cli import target

PARAMETERS = (*target.PARAMETERS, "serve")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(arguments: argparse.Namespace, given: dict[str, Any]) -> None:
    from components.inference import bind, engine_for, serve

    api_key = os.environ.get("MARTLET_API_KEY")
    meant = target.find(given)
    params = meant.params
    listening = bind(params.serve.host, params.serve.port, api_key)  # a taken port is told before the model is loaded
    meant = target.merged(meant)
    engine = engine_for(params.generation.infer_backend)(
        meant.model, meant.adapter, params.train.torch_dtype, params.train.attn_impl,
        params.generation.max_batch_size, params.generation.max_model_len,
    )  # fmt: skip
    name = params.serve.served_model_name or params.registry.registered_model_name
    address = f"http://{params.serve.host}:{listening.getsockname()[1]}/v1"
    print(f"serving {meant.adapter or meant.model} as '{name}' at {address}", flush=True)
    serve(engine, served_model_name=name, api_key=api_key, listening=listening)
