"""The weights that a run saves, whole, wherever their parts lie."""

from typing import TYPE_CHECKING

from components.sharded import is_any_divided, whole
from components.training import ranks
from components.training.job import Job

if TYPE_CHECKING:
    import torch


def whole_weights(job: Job) -> "dict[str, torch.Tensor] | None":
    """Return whole copies of the weights that a checkpoint holds, {} in processes that do not write it, or None where
    every process has them whole."""
    if not is_any_divided(job.model):
        return None
    tensors = job.model.state_dict(keep_vars=True)
    if job.params.tuner.tuner_type != "full":
        tensors = {name: tensor for name, tensor in tensors.items() if tensor.requires_grad}
    once = {id(tensor): name for name, tensor in reversed(tensors.items())}  # of tied weights the first
    return dict(whole({name: tensors[name] for name in reversed(once.values())}, keep=ranks.is_writer()))
