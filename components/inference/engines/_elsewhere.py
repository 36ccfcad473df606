"""Engines whose requirements conflict with Martlet's: refused, with the way to run one on a merged folder."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn

from components.errors import ConfigError
from components.inference.engines import ServeSettings


def refused(name: str) -> Callable[[Path, list[Path], ServeSettings], AbstractContextManager[str]]:
    """Return a `served` that raises ConfigError."""

    def served(model: Path, adapters: list[Path], settings: ServeSettings) -> NoReturn:  # noqa: ARG001
        raise ConfigError(
            f"infer_backend '{name}' is not built in; 'transformers' is. A merged model folder runs in vLLM as"
            " it is, from an environment of its own: merge with --merge_lora true, then\n"
            "  uv venv .venvs/vllm && uv pip install --python .venvs/vllm vllm\n"
            "  .venvs/vllm/bin/vllm serve MERGED_FOLDER --host 127.0.0.1"
        )

    return served
