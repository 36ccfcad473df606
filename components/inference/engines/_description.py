"""What an engine that is a program of its own is told about a model: one description, from which the file of each
engine makes its command line."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components.errors import ConfigError
from components.files import read_json
from components.inference.adapters import require_fit
from components.inference.engines import ServeSettings

LOOPBACK = "127.0.0.1"
TOOL_DIALECTS = {
    "<arg_key>": "glm45",
    "<function=": "qwen3_coder",
    "<tool_call>": "hermes",
    "[TOOL_CALLS]": "mistral",
    "<|python_tag|>": "llama3_json",
    "<｜tool▁calls▁begin｜>": "deepseek_v3",
    "<|tool_calls_section_begin|>": "kimi_k2",
}
"""vLLM's name of a dialect of tool calls, by a mark in the chat template; the first that is there decides."""


@dataclass(frozen=True)
class Description:
    """A model and how it is to be served.

    Attributes:
        model: folder in transformers' layout.
        names: names under which clients ask for the model without an adapter, at least one.
        adapters: adapter folder by the name under which clients ask for it.
        rank: highest rank of the adapters, 0 without one.
        dtype: precision of the computation, such as bfloat16, or None for the engine's choice.
        max_model_len: tokens of prompt and answer, or None for the model's own limit.
        quant_method: how the weights are quantized, as config.json says, or None.
        sampling: settings of requests that name none, under the names of generation_config.json.
        template: file with the chat template, where it is not the one in the folder, or None.
        template_kwargs: variables of the chat template in requests that set none.
        tools: vLLM's name of the dialect of tool calls, or None.
        trust_remote_code: whether the code in the model's folder may run.
        port: where to listen, on LOOPBACK.
    """

    model: Path
    names: list[str]
    port: int
    adapters: Mapping[str, Path] = field(default_factory=dict)
    rank: int = 0
    dtype: str | None = None
    max_model_len: int | None = None
    quant_method: str | None = None
    sampling: dict[str, Any] = field(default_factory=dict)
    template: Path | None = None
    template_kwargs: dict[str, Any] = field(default_factory=dict)
    tools: str | None = None
    trust_remote_code: bool = False


def describe(
    model: Path, adapters: Mapping[str, Path], settings: ServeSettings, port: int, temporary: Path
) -> Description:
    """Return the description of a model folder with adapters on it.

    Args:
        temporary: folder for files that the engine is to read.

    Raises:
        ConfigError: a setting is one that engines of this kind do not have, or an adapter is no plain LoRA.
        MartletError: an adapter does not fit the model.
    """
    _require_possible(model, settings)
    config, template = read_json(model / "config.json"), _chat_template(model)
    defaults = settings.params.template
    return Description(
        model=model,
        names=settings.names or [f"{name}-base" for name in adapters][:1],  # these engines always serve the base
        port=port,
        adapters=adapters,
        rank=max((require_fit(model, adapter) for adapter in adapters.values()), default=0),
        dtype=settings.params.train.torch_dtype or config.get("dtype") or config.get("torch_dtype"),
        max_model_len=settings.max_model_len,
        quant_method=(config.get("quantization_config") or {}).get("quant_method"),
        sampling=_sampling(settings),
        template=_with_system(template, defaults.system, temporary) if defaults.system else None,
        template_kwargs={} if defaults.enable_thinking is None else {"enable_thinking": defaults.enable_thinking},
        trust_remote_code=settings.params.model.trust_remote_code,
        tools=next((name for mark, name in TOOL_DIALECTS.items() if mark in template), None),
    )


def _with_system(template: str, system: str, folder: Path) -> Path:
    """Write a chat template that gives conversations without a system message this one, and return its file."""
    message = json.dumps({"role": "system", "content": system}, ensure_ascii=False)
    file = folder / "chat_template.jinja"
    file.write_text(
        "{%- if messages and messages[0]['role'] != 'system' -%}"
        f"{{%- set messages = [{message}] + messages -%}}"
        "{%- endif -%}" + template,
        encoding="utf-8",
    )
    return file


def flags(values: Mapping[str, Any]) -> list[str]:
    """Return a program's flags: none for None and False, no value for True, several for a list, JSON for a mapping."""
    words: list[str] = []
    for name, value in values.items():
        if value is None or value is False or value == [] or value == {}:
            continue
        words.append(f"--{name}")
        if isinstance(value, dict):
            words.append(json.dumps(value, ensure_ascii=False))
        elif value is not True:
            words += map(str, value) if isinstance(value, list) else [str(value)]
    return words


def _require_possible(model: Path, settings: ServeSettings) -> None:
    if settings.generation.stop_words:
        raise ConfigError(
            "--stop_words: this engine has none of its own; name them in the requests, or use --infer_backend"
            " transformers"
        )
    if not settings.params.template.use_chat_template:
        raise ConfigError("--use_chat_template false: this engine renders chats with the template; ask for completions")
    if settings.params.quantization.quant_method:
        raise ConfigError(
            "--quant_method: this engine serves weights as they are stored; merge the adapter with --merge_lora true,"
            " or quantize the model with `martlet export`, and name the folder with --model"
        )
    if (model / "adapter").is_dir():
        raise ConfigError(
            f"{model}: the folder holds an adapter that cannot be merged; use --infer_backend transformers"
        )


def _sampling(settings: ServeSettings) -> dict[str, Any]:
    names = ("temperature", "top_k", "top_p", "repetition_penalty", "max_new_tokens")
    values = {name: getattr(settings.generation, name) for name in names}
    return {name: value for name, value in values.items() if value is not None}


def _chat_template(model: Path) -> str:
    """Return the chat template in a folder, or an empty string."""
    if (file := model / "chat_template.jinja").is_file():
        return file.read_text(encoding="utf-8")
    file = model / "tokenizer_config.json"
    return str((read_json(file) if file.is_file() else {}).get("chat_template") or "")
