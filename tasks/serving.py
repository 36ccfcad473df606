"""A command's model behind an engine: the address is checked early, the server lasts as long as the block."""

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from components.config import Params
from components.config.groups.template import Template
from components.errors import ConfigError
from components.inference import ENGINES, ServeSettings, bind, key_or_none
from tasks.answering import generation_settings
from tasks.loading import load_beside
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
    """Serve a model with the engine that `infer_backend` names; enter with the base URL.

    The name is that of the model with the adapter, where there is one.
    """
    params, external = target.params, plugin_files(target.params, Path.cwd())
    adapters = {served_name(params): target.adapter} if target.adapter else {}
    return _served(target, adapters, [] if adapters else [served_name(params)], {}, api_key, external)


def deployed_adapters(targets: Mapping[str, Target], api_key: str | None) -> AbstractContextManager[str]:
    """Serve several adapters of one base under their names, and the base under the name of the server.

    Raises:
        ConfigError: the adapters have different bases, or share a name with the base.
    """
    first, *others = targets.values()
    name = served_name(first.params)
    if other := next((target for target in others if target.model != first.model), None):
        raise ConfigError(
            f"--adapters: {first.adapter} is of the base {first.model}, and {other.adapter} of {other.model}; "
            "serve them with a command each"
        )
    if name in targets:
        raise ConfigError(f"--adapters: {name} is the name of the base; name the base with --served_model_name")
    adapters = {name: target.adapter for name, target in targets.items() if target.adapter}
    templates = {target.adapter: target.params.template for target in targets.values()}
    external = plugin_files(first.params, Path.cwd())
    return _served(first, adapters, [name], templates, api_key, external)


def _served(
    target: Target,
    adapters: Mapping[str, Path],
    names: list[str],
    templates: Mapping[Path | None, Template],
    api_key: str | None,
    external: Sequence[Path],
) -> AbstractContextManager[str]:
    params = target.params
    settings = ServeSettings(
        load=partial(
            load_beside,
            torch_dtype=params.train.torch_dtype,
            attn_impl=params.train.attn_impl,
            quantization=params.quantization,
            external=external,
        ),
        prompts=lambda tokenizer, adapter: prompts(templates.get(adapter, params.template))(tokenizer),
        names=names,
        host=params.serve.host,
        port=params.serve.port,
        api_key=api_key,
        max_batch_size=params.generation.max_batch_size,
        max_model_len=params.generation.max_model_len,
        generation=generation_settings(params),
        params=params,
    )
    return ENGINES.load(params.generation.infer_backend, external).served(target.model, adapters, settings)
