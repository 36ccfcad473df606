"""A command's model behind an engine: the address is checked early, the server lasts as long as the block."""

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from components.config import Params
from components.config.groups.serve import Serve
from components.config.groups.template import Template
from components.errors import ConfigError
from components.inference import ENGINES, Prompts, ServeSettings, bind, key_or_none
from components.inference.engines import OnReady
from components.inference.media_intake import MEDIA_MIB
from components.media import Limits, load_processor, takes_media
from tasks.answering import generation_settings
from tasks.loading import adapted, load_beside
from tasks.prompts import prompts, trained_with
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


def deployed(
    target: Target, api_key: str | None, on_ready: OnReady | None = None, with_page: bool = False
) -> AbstractContextManager[str]:
    """Serve a model with the engine that `infer_backend` names; enter with the base URL.

    The name is that of the model with the adapter, where there is one. `on_ready` and `with_page` are those of
    ServeSettings.
    """
    name = served_name(target.params)
    adapters = {name: target.adapter} if target.adapter else {}
    settings = settings_of(target, [] if adapters else [name], api_key, on_ready=on_ready)
    return _served(target, adapters, replace(settings, with_page=with_page))


def deployed_adapters(
    targets: Mapping[str, Target], api_key: str | None, with_page: bool = False
) -> AbstractContextManager[str]:
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
    return _served(first, adapters, replace(settings_of(first, [name], api_key, templates), with_page=with_page))


def settings_of(
    target: Target,
    names: list[str],
    api_key: str | None = None,
    templates: Mapping[Path | None, Template] | None = None,
    on_ready: OnReady | None = None,
) -> ServeSettings:
    """Return how a command's model is served.

    `templates` are those of adapters, where they differ from the target's.
    """
    params, external = target.params, plugin_files(target.params, Path.cwd())
    params = params.model_copy(update={"serve": with_room(params.serve, target.model)})
    limits = Limits(params.serve.max_media_pixels, params.serve.max_media_seconds)
    processor = cache(partial(load_processor, target.model, params.multimodal, Path.cwd(), limits))

    def prompts_of(tokenizer: Any, adapter: Path | None) -> Prompts:
        trained = params.template if adapter is None else trained_with(adapter, params.template)
        template = (templates or {}).get(adapter, params.template if adapter == target.adapter else trained)
        return prompts(template, processor())(tokenizer)

    loading = {
        "torch_dtype": params.train.torch_dtype,
        "attn_impl": params.train.attn_impl,
        "quantization": params.quantization,
    }
    return ServeSettings(
        load=partial(load_beside, external=external, **loading),
        prompts=prompts_of,
        names=names,
        host=params.serve.host,
        port=params.serve.port,
        api_key=api_key,
        max_batch_size=params.generation.max_batch_size,
        max_model_len=params.generation.max_model_len,
        generation=generation_settings(params),
        adapt=partial(adapted, external=external),
        on_ready=on_ready,
        params=params,
    )


def with_room(settings: Serve, model: Path) -> Serve:
    """Return the settings of a server with room for media in requests, where the model takes any."""
    if settings.max_request_mb or not takes_media(model):
        return settings
    return settings.model_copy(update={"max_request_mb": MEDIA_MIB})


def _served(target: Target, adapters: Mapping[str, Path], settings: ServeSettings) -> AbstractContextManager[str]:
    params = target.params
    engine = ENGINES.load(params.generation.infer_backend, plugin_files(params, Path.cwd()))
    return engine.served(target.model, adapters, settings)


def named_adapters(values: list[str]) -> dict[str, str]:
    """Return the folders of `--adapters NAME=FOLDER …` by their names, or nothing where a folder stands alone.

    Raises:
        ConfigError: several folders without names, or a name twice.
    """
    pairs = [value.partition("=") for value in values]
    if len(values) <= 1 and not any(name and folder for name, _, folder in pairs):
        return {}
    if unnamed := [value for value, (name, _, folder) in zip(values, pairs, strict=True) if not (name and folder)]:
        raise ConfigError(f"--adapters {unnamed[0]}: several adapters need names; write NAME={unnamed[0]}")
    named = {name: folder for name, _, folder in pairs}
    if len(named) < len(values):
        twice = next(name for name in named if sum(name == other for other, _, _ in pairs) > 1)
        raise ConfigError(f"--adapters: two have the name {twice}; give each a name of its own")
    return named
