"""Whether the engine of a run reads the optimizer's state in a checkpoint."""

from pathlib import Path
from typing import Any

from components.config.groups.distributed import Distributed
from components.errors import ConfigError
from components.files import read_json
from components.training.sharding import plan_of
from components.training.world import processes_of

OF_DEEPSPEED = {
    "deepspeed.runtime.fp16.loss_scaler.LossScaler", "deepspeed.runtime.fp16.loss_scaler.DynamicLossScaler",
    "deepspeed.runtime.zero.config.ZeroStageEnum", "deepspeed.utils.tensor_fragment.fragment_address",
}  # fmt: skip
"""Classes, beside tensors and plain values, of which DeepSpeed 0.19 puts objects into its files."""


def check_engine(checkpoint: Path, arguments: dict[str, Any]) -> None:
    """Check that a run with `arguments` reads the optimizer's state of an intact checkpoint.

    DDP, and FSDP where it trains an adapter, write optimizer.pt, which any number of processes of the two reads; FSDP
    that trains weights in full reads its own from any number of processes; DeepSpeed reads its own alone, of the same
    stage and as many processes.

    Raises:
        ConfigError: another engine wrote it, or DeepSpeed in another stage or number of processes; or one of
            DeepSpeed's files, which are pickles, would run other code than its own.
    """
    saved = read_json(checkpoint / "args.json")
    old = _format(saved)
    if old != _format(arguments):
        raise ConfigError(
            f"resume_from_checkpoint: the optimizer's state in {checkpoint} was written {_words(saved)} and cannot be "
            f"read {_words(arguments)}; put the flags back, or begin a new run with its weights: --resume_only_model "
            "true"
        )
    if old[0] == "deepspeed":
        _require_plain_files(checkpoint)


def _require_plain_files(checkpoint: Path) -> None:
    """Raise ConfigError for a file of DeepSpeed's that holds objects of other classes than its own: unpickling one runs
    code, and DeepSpeed does not look."""
    from torch.serialization import get_unsafe_globals_in_checkpoint

    for file in sorted(checkpoint.glob("global_step*/*.pt")):
        if others := {*get_unsafe_globals_in_checkpoint(file)} - OF_DEEPSPEED:
            raise ConfigError(f"resume_from_checkpoint: {file} holds objects of {', '.join(others)} and is not loaded")


def _format(arguments: dict[str, Any]) -> tuple[str, int, int]:
    """Return the engine that writes the optimizer's state, and for DeepSpeed its stage and the number of processes."""
    distributed = Distributed(**arguments.get("distributed", {}))
    plan = plan_of(distributed)
    if plan.engine == "deepspeed":
        return "deepspeed", plan.stage, processes_of(distributed)
    is_divided = plan.engine == "fsdp" and arguments["tuner"]["tuner_type"] == "full"
    return "fsdp" if is_divided else "ddp", 0, 0


def _words(arguments: dict[str, Any]) -> str:
    """Return `with --deepspeed zero2 in 4 processes`, or `without --deepspeed and --fsdp`."""
    distributed = Distributed(**arguments.get("distributed", {}))
    flags = [f"--{name} {value}" for name in ("deepspeed", "fsdp") if (value := getattr(distributed, name))]
    return f"with {flags[0]} in {processes_of(distributed)} processes" if flags else "without --deepspeed and --fsdp"
