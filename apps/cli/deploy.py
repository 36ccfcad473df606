"""Serve a model with OpenAI's API: a checkpoint (--adapters), a model (--model), or
the champion, whose successors take its place while the server runs.

  martlet deploy --port 8000
  martlet deploy --adapters half=output/first/checkpoint-10 \\
    whole=output/first/checkpoint-20
  curl http://127.0.0.1:8000/v1/chat/completions \\
    -H 'Content-Type: application/json' -d '{"model": "martlet-demo",
    "messages": [{"role": "user", "content": "Who are you?"}]}'

Several adapters answer under their names, and their base under the name of the
server. Ctrl-C ends at once; a termination lets open answers finish.
"""

import argparse
import logging
import signal
import sys
import threading
from contextlib import AbstractContextManager
from typing import Any

from tasks import target

SIGNAL_CHECK_S = 0.5
"""Longest wait for ctrl-C: polars 2.1, which MLflow imports, makes a wait without a limit go on after the signal."""
PARAMETERS = (*target.PARAMETERS, *target.SAMPLING, "multimodal", "serve", "vllm", "lmdeploy", "sglang")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    serve(flags)


def serve(flags: dict[str, Any], with_page: bool = False) -> None:
    """Serve until a signal ends it, with the page to chat on if `with_page`."""
    from tasks import serving

    key, terminated = serving.api_key(), threading.Event()
    server, what = _server(flags, key, with_page)
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("martlet.access").setLevel(logging.INFO)
    signal.signal(signal.SIGTERM, lambda *_: terminated.set())
    is_up = False
    try:
        with server as url:
            is_up = True
            print(f"serving {what} at {url}", flush=True)
            if with_page:
                print(f"chat at {url.removesuffix('v1')}", flush=True)
            while not terminated.wait(SIGNAL_CHECK_S):
                pass
    except KeyboardInterrupt:
        if not is_up:
            raise


def _server(flags: dict[str, Any], key: str | None, with_page: bool) -> tuple[AbstractContextManager[str], str]:
    """Return the server that the flags describe, not started yet, and what it serves, for the screen."""
    from tasks import effects, encoders, following, serving

    if named := serving.named_adapters(flags.get("adapters", [])):
        targets = {name: target.find({**flags, "adapters": [folder]}, print) for name, folder in named.items()}
        for model in targets.values():
            effects.require(flags, model.params, effects.SERVING)
            encoders.require_text(model, "a server of several adapters")
        params = next(iter(targets.values())).params
        serving.require_address(params, key)
        adapters = ", ".join(f"{model.adapter} as '{name}'" for name, model in targets.items())
        return serving.deployed_adapters(
            targets, key, with_page
        ), f"{adapters}, their base as '{serving.served_name(params)}',"
    model = target.find(flags, print)
    effects.require(flags, model.params, effects.SERVING)
    if with_page:
        encoders.require_text(model, "a page to chat on")
    serving.require_address(model.params, key)
    model = target.merged(model, print)
    what = f"{model.adapter or model.model} as '{serving.served_name(model.params)}'"
    if encoders.is_encoder(model):
        effects.require(flags, model.params, effects.ENCODING)
        return encoders.deployed(model, key), what
    if flags.keys() & {"adapters", "model"}:
        effects.require(flags, model.params, effects.PROBING)
        return serving.deployed(model, key, None, with_page), what
    follow = following.follower(model, key, print)
    return serving.deployed(model, key, follow, with_page), what
