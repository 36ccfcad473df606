"""SGLang, for GPUs, in the environment `sglang`."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from components import environments
from components.config.groups.sglang import Sglang
from components.errors import ConfigError
from components.inference.engines import ServeSettings, _with_key
from components.inference.engines._description import LOOPBACK, Description, flags
from components.inference.engines._program import Engine
from components.inference.engines._supervisor import supervised

TOOL_PARSERS = {"hermes": "qwen25", "llama3_json": "llama3", "deepseek_v3": "deepseekv3"}
"""SGLang's names of dialects of tool calls, where they are not vLLM's."""


@contextmanager
def served(model: Path, adapters: Mapping[str, Path], settings: ServeSettings) -> Generator[str]:
    """Serve the model from SGLang's environment; see `Engine.served`."""
    start = [environments.require("sglang"), _with_key.__file__, "--api-key", "sglang.launch_server"]
    engine = Engine(
        "sglang",
        lambda model, params, _: [*start, *arguments(model, params.sglang)],
        key_variable=_with_key.VARIABLE,
        variables={"HF_HUB_OFFLINE": "1"},
    )
    with supervised(engine, model, adapters, settings) as url:
        yield url


def arguments(model: Description, options: Sglang) -> list[str]:
    """Return the arguments of the program `sglang.launch_server`; the API key is not among them.

    Raises:
        ConfigError: SGLang does not have a setting.
    """
    _require_possible(model)
    values = {
        "model-path": model.model,
        "host": LOOPBACK,
        "port": model.port,
        "served-model-name": model.names[0],
        "dtype": model.dtype,
        "context-length": options.sglang_context_length or model.max_model_len,
        "chat-template": model.template,
        "default-chat-template-kwargs": model.template_kwargs,
        "quantization": options.sglang_quantization,
        "trust-remote-code": model.trust_remote_code,
        "tp-size": options.sglang_tp_size,
        "pp-size": options.sglang_pp_size,
        "dp-size": options.sglang_dp_size,
        "ep-size": options.sglang_ep_size,
        "mem-fraction-static": options.sglang_mem_fraction_static,
        "kv-cache-dtype": options.sglang_kv_cache_dtype,
        "disable-cuda-graph": options.sglang_disable_cuda_graph,
        "enable-dp-attention": options.sglang_enable_dp_attention,
        "disable-custom-all-reduce": options.sglang_disable_custom_all_reduce,
        "tool-call-parser": TOOL_PARSERS.get(model.tools or "", model.tools),
        "sampling-defaults": "model",
    }
    return flags(values)


def _require_possible(model: Description) -> None:
    if model.adapters:
        raise ConfigError(
            "--adapters: sglang serves an adapter as MODEL:NAME, not under its own name; merge it with --merge_lora"
            " true, or use --infer_backend vllm"
        )
    if len(model.names) > 1:
        raise ConfigError("infer_backend 'sglang' serves a model under one name; give one")
    if model.sampling:
        names = ", ".join(f"--{name}" for name in model.sampling)
        raise ConfigError(f"{names}: sglang has no such defaults; name them in the requests, or use vllm")
