"""Serve a model with OpenAI's API: a checkpoint (--adapters), a model (--model), or
the champion.

  martlet deploy --port 8000
  curl http://127.0.0.1:8000/v1/chat/completions \\
    -H 'Content-Type: application/json' -d '{"model": "martlet-demo",
    "messages": [{"role": "user", "content": "Who are you?"}]}'
"""

import argparse
import time
from contextlib import suppress
from typing import Any

from tasks import target

SIGNAL_CHECK_S = 0.5
"""Longest wait for ctrl-C: polars 2.1, which MLflow imports, makes a wait without a limit go on after the signal."""
PARAMETERS = (*target.PARAMETERS, *target.SAMPLING, "serve", "vllm", "lmdeploy", "sglang")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from tasks import effects, encoders, serving

    key = serving.api_key()
    model = target.find(flags, print)
    effects.require(flags, model.params, effects.SERVING)
    encoders.require_text(model)
    serving.require_address(model.params, key)
    model = target.merged(model, print)
    with serving.deployed(model, key) as url:
        name = serving.served_name(model.params)
        print(f"serving {model.adapter or model.model} as '{name}' at {url}", flush=True)
        with suppress(KeyboardInterrupt):
            while True:
                time.sleep(SIGNAL_CHECK_S)
