"""Fully sharded data parallelism (FSDP2, Zhao et al. 2023, arXiv 2304.11277), by transformers' own loading.

Each process reads its part of every weight from the files, and no process ever holds the whole model. A LoRA adapter is
small and stays whole in each process. Adapters and their optimizer have the files of any other run; the optimizer of
divided weights is written by all processes as safetensors, which any number of processes can read.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from components.config import Params
from components.errors import ConfigError
from components.sharded import is_any_divided, is_divided
from components.training.job import Job, transformers_model
from components.training.sharding import plan_of
from components.training.world import world_size

FOLDER = "optimizer"
"""Folder of a checkpoint with the state of the optimizer of divided weights."""
FILES = 16
"""Files that each process writes there: PyTorch copies what is to go into one file, twice."""


@contextmanager
def loading(params: Params) -> Generator[dict[str, Any]]:
    """Yield the description of how all processes, or those of each machine, divide the weights.

    Raises:
        ConfigError: weights are to be moved off an accelerator, and there is none.
    """
    import torch
    from transformers.distributed import DistributedConfig

    plan, copies = plan_of(params.distributed), 1
    if plan.offload_weights and not torch.accelerator.is_available():
        raise ConfigError("fsdp: offload moves weights off an accelerator, and there is none here; leave it out")
    if plan.hybrid:
        copies = params.distributed.nnodes or 1
    config = DistributedConfig(
        fsdp_size=world_size(params) // copies,
        dp_replicate_size=copies,
        fsdp_cpu_offload=plan.offload_weights is not None,
    )
    yield {"device_map": None, "distributed_config": config}


def arguments(job: Job) -> dict[str, Any]:
    """Return what transformers needs to train a model that is divided already.

    Raises:
        ConfigError: a weight that learns is embedding and head in one, and the processes cannot divide it evenly.
    """
    import torch

    _require_even_ties(job)
    if plan_of(job.params.distributed).stage < 3:
        model: Any = transformers_model(job.model)
        model.set_reshard_after_forward(False)
    return {
        "use_cpu": not torch.accelerator.is_available(),
        "save_only_model": True,  # transformers 5.23 writes no optimizer of such a model: `save_optimizer` does
        # Else each process would keep the whole gradients of all weights between the passes of a step.
        "accelerator_config": {"gradient_accumulation_kwargs": {"sync_each_batch": True}},
    }


def _require_even_ties(job: Job) -> None:
    """Raise ConfigError for a tied weight that learns and whose rows do not divide among the processes.

    transformers 5.23 gives embedding and head an FSDP state each, and PyTorch 2.13 pads a copy of the weight for each,
    of which one learns. Goes when the two share a state.
    """
    model = transformers_model(job.model)
    embedding = model.get_input_embeddings().weight
    head, parts = model.get_output_embeddings(), model.config.distributed_config.fsdp_size
    if head is not None and head.weight is embedding and embedding.requires_grad and len(embedding) % parts:
        name = next(name for name, weight in job.model.named_parameters() if weight is embedding)
        raise ConfigError(
            f"fsdp: the model's embedding is its head, too, and its {len(embedding)} rows do not divide among {parts} "
            f"processes; use another number of processes, --deepspeed zero3, or --freeze_parameters {name}"
        )


def is_running(trainer: Any) -> bool:
    """Return whether the weights of the trainer's model are divided."""
    return is_any_divided(trainer.model)


def save_optimizer(trainer: Any, folder: Path) -> bool:
    """Write the optimizer's state: each process its part, or one process that of weights that are whole."""
    if not _learns_divided(trainer):
        return False
    import torch.distributed.checkpoint as dcp

    state = _state(trainer)
    files = {name: 1 + n % FILES for n, name in enumerate(state)}
    writer = dcp.HuggingFaceStorageWriter(str(folder / FOLDER), files, save_distributed=True)
    try:
        dcp.save(state, storage_writer=writer)
    except dcp.CheckpointException as error:  # no Exception, and its text is the tracebacks of all processes
        cause, _ = next(iter(error.failures.values()))
        raise OSError(str(cause)) from error
    return True


def load_optimizer(trainer: Any, folder: Path) -> bool:
    """Read the optimizer's state of divided weights, whatever number of processes wrote it."""
    if not _learns_divided(trainer):
        return False
    import torch.distributed.checkpoint as dcp
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_optimizer_state_dict

    state = _state(trainer)
    dcp.load(state, storage_reader=dcp.HuggingFaceStorageReader(str(folder / FOLDER)))
    set_optimizer_state_dict(
        trainer.model,
        trainer.optimizer.optimizer,
        {**_every_state(trainer), **state},
        options=StateDictOptions(flatten_optimizer_state_dict=True),
    )
    return True


def _every_state(trainer: Any) -> dict[str, Any]:
    """Return the optimizer's state and settings by the name of their weight."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict

    options = StateDictOptions(flatten_optimizer_state_dict=True)
    return get_optimizer_state_dict(trainer.model, trainer.optimizer.optimizer, options=options)


def _state(trainer: Any) -> dict[str, Any]:
    """Return the tensors of the optimizer's state by the name of their weight; numbers stand in the parameters."""
    import torch

    return {name: value for name, value in _every_state(trainer).items() if isinstance(value, torch.Tensor)}


def _learns_divided(trainer: Any) -> bool:
    return any(weight.requires_grad and is_divided(weight) for weight in trainer.model.parameters())


def end(trainer: Any) -> None:
    """Forget how the weights are divided: a model that is loaded like this one is whole then."""
    transformers_model(trainer.model).config.distributed_config = None
