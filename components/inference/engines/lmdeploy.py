"""LMDeploy, for GPUs, in the environment `lmdeploy`."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from components import environments
from components.config import Params
from components.config.groups.lmdeploy import Lmdeploy
from components.errors import ConfigError
from components.files import read_json, write_json
from components.inference.engines import ServeSettings, _with_key
from components.inference.engines._description import LOOPBACK, Description, flags
from components.inference.engines._program import Engine
from components.inference.engines._supervisor import supervised

FORMATS = ("awq", "gptq", "fp8", "compressed-tensors")
"""Formats of quantized weights that `--model-format` of LMDeploy 0.18 takes."""
TOOL_PARSERS = {"hermes": "qwen3", "qwen3_coder": "qwen3coder", "glm45": "glm47", "llama3_json": "llama3"}
"""LMDeploy's names of dialects of tool calls."""


@contextmanager
def served(model: Path, adapters: Mapping[str, Path], settings: ServeSettings) -> Generator[str]:
    """Serve the model from LMDeploy's environment; see `Engine.served`."""
    start = [environments.require("lmdeploy"), _with_key.__file__, "--api-keys", "lmdeploy"]

    def command(model: Description, params: Params, folder: Path) -> list[object]:
        _write_sampling(model, folder)
        return [*start, *arguments(model, params.lmdeploy, folder)]

    engine = Engine("lmdeploy", command, key_variable=_with_key.VARIABLE, variables={"HF_HUB_OFFLINE": "1"})
    with supervised(engine, model, adapters, settings) as url:
        yield url


def arguments(model: Description, options: Lmdeploy, generation_config: Path) -> list[str]:
    """Return the arguments of the program `lmdeploy`; the API key is not among them.

    Args:
        generation_config: folder with the defaults of requests.

    Raises:
        ConfigError: LMDeploy does not have a setting.
    """
    _require_possible(model)
    values = {
        "server-name": LOOPBACK,
        "server-port": model.port,
        "model-name": model.names[0],
        "backend": "pytorch" if model.adapters else None,
        "adapters": [f"{name}={path}" for name, path in model.adapters.items()],
        "dtype": model.dtype if model.dtype in ("float16", "bfloat16") and not model.quant_method else None,
        "model-format": model.quant_method if model.quant_method in FORMATS else None,
        "session-len": options.lmdeploy_session_len or model.max_model_len,
        "trust-remote-code": model.trust_remote_code,
        "tp": options.lmdeploy_tp,
        "cache-max-entry-count": options.lmdeploy_cache_max_entry_count,
        "quant-policy": options.lmdeploy_quant_policy or None,
        "vision-max-batch-size": options.lmdeploy_vision_batch_size,
        "tool-call-parser": TOOL_PARSERS.get(model.tools or ""),
        "generation-config": generation_config if model.sampling else None,
    }
    return ["serve", "api_server", str(model.model), *flags(values)]


def _require_possible(model: Description) -> None:
    if len(model.names) > 1:
        raise ConfigError("infer_backend 'lmdeploy' serves a model under one name; give one")
    if model.template or model.template_kwargs:
        raise ConfigError(
            "--system, --enable_thinking: lmdeploy has no defaults for them; name them in the requests, or use"
            " --infer_backend vllm"
        )


def _write_sampling(model: Description, folder: Path) -> None:
    """Write a generation_config.json: the model's own, with the defaults of requests over it."""
    file = model.model / "generation_config.json"
    write_json(folder / file.name, (read_json(file) if file.is_file() else {}) | model.sampling)
