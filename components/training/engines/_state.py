"""Whether the engine of a run reads the optimizer's state in a checkpoint."""

from pathlib import Path
from typing import Any

from components.config.groups.distributed import Distributed
from components.errors import ConfigError
from components.files import MANIFEST, read_json
from components.training.intact import OPTIMIZER_FILES
from components.training.sharding import plan_of

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
    old, new = _format(saved), _format(arguments)
    names = read_json(checkpoint / MANIFEST)["files"]
    engines = (engine for start, engine in OPTIMIZER_FILES.items() if any(name.startswith(start) for name in names))
    written = next(engines, "ddp")
    if (written, *old[1:]) != new if written == "deepspeed" else written != new[0]:
        raise ConfigError(
            f"resume_from_checkpoint: the optimizer's state in {checkpoint} was written {_words(saved)} and cannot be "
            f"read {_words(arguments)}; put the flags back, or begin a new run with its weights: --resume_only_model "
            "true"
        )
    if written == "deepspeed":
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
        return "deepspeed", plan.stage, (distributed.nproc_per_node or 1) * (distributed.nnodes or 1)
    is_divided = plan.engine == "fsdp" and arguments["tuner"]["tuner_type"] == "full"
    return "fsdp" if is_divided else "ddp", 0, 0


def _words(arguments: dict[str, Any]) -> str:
    """Return `with --deepspeed zero2 in 4 processes`, or `without an engine`."""
    distributed = arguments.get("distributed", {})
    flags = [f"--{name} {distributed[name]}" for name in ("deepspeed", "fsdp") if distributed.get(name)]
    processes = (distributed.get("nproc_per_node") or 1) * (distributed.get("nnodes") or 1)
    return f"with {flags[0]} in {processes} processes" if flags else "without --deepspeed and --fsdp"
