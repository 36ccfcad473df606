"""A command's model behind an engine: the address is checked early, the server lasts as long as the block."""

import os
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from components.config import Params
from components.inference import ENGINES, ServeSettings, bind, key_or_none
from tasks.answering import generation_settings
from tasks.loading import load
from tasks.prompts import prompts
from tasks.stages.paths import plugin_files
from tasks.target import Target


def api_key() -> str | None:
    """Return the key that clients of the server need, from MARTLET_API_KEY, or None."""
    return key_or_none(os.environ.get("MARTLET_API_KEY"))


def require_address(params: Params, api_key: str | None) -> None:
    """Check that the server may listen, before a model is merged or loaded.

    Raises:
        ConfigError: the port is in use, the address is not of this machine, or is not loopback and there is no key.
    """
    bind(params.serve.host, params.serve.port, api_key).close()


def served_name(params: Params) -> str:
    """Return the name under which clients ask for the model."""
    return params.serve.served_model_name or params.registry.registered_model_name


def deployed(target: Target, api_key: str | None) -> AbstractContextManager[str]:
    """Serve a model with the engine that `infer_backend` names; enter with the base URL."""
    params, external = target.params, plugin_files(target.params, Path.cwd())
    settings = ServeSettings(
        load=partial(
            load,
            torch_dtype=params.train.torch_dtype,
            attn_impl=params.train.attn_impl,
            quantization=params.quantization,
            external=external,
        ),
        prompts=prompts(params.template),
        names=[served_name(params)],
        host=params.serve.host,
        port=params.serve.port,
        api_key=api_key,
        max_batch_size=params.generation.max_batch_size,
        max_model_len=params.generation.max_model_len,
        generation=generation_settings(params),
    )
    adapters = [target.adapter] if target.adapter else []
    return ENGINES.load(params.generation.infer_backend, external).served(target.model, adapters, settings)
