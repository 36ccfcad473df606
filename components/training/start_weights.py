"""The reference model of methods that sample: the model as the training begins, of which only the first values of the
weights that learn are held, or another one."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from components.errors import MartletError
from components.training import ranks
from components.training.job import Job

FILE = "reference/start.safetensors"
"""In the folder of the checkpoints."""


def reference_of(job: Job) -> "StartWeights | OtherModel":
    """Return the reference model of a job."""
    return OtherModel(job.reference()) if job.reference else StartWeights(job)


class OtherModel:
    """A model that stands beside the one that is trained."""

    def __init__(self, model: Any) -> None:
        self.model = model

    @contextmanager
    def applied(self) -> Generator[None]:
        """Let the model compute without a gradient."""
        with torch.no_grad():
            yield


class StartWeights:
    """The values of the learning weights of a job's model as its training began: those of an adapter, which are few.

    A tuner that takes its first values from the data is restored before this is made where a run goes on, so the values
    of such a tuner lie beside the checkpoints.

    Raises:
        MartletError: a run goes on, and they do not.
    """

    def __init__(self, job: Job) -> None:
        self.model: Any = job.model
        self.values = {name: w.detach().clone() for name, w in self.model.named_parameters() if w.requires_grad}
        file = job.checkpoints / FILE
        if not job.initialise:
            return
        if not job.start:
            if ranks.is_writer():
                file.parent.mkdir(parents=True, exist_ok=True)
                save_file({name: value.contiguous().cpu() for name, value in self.values.items()}, file)
            return
        if not file.is_file():
            raise MartletError(
                f"{file} is gone, without which the run has no reference model; begin anew, or with --beta 0"
            )
        self.values = load_file(file, str(self.model.device))

    @contextmanager
    def applied(self) -> Generator[None]:
        """Let the model compute with these values, without a gradient."""
        weights = {name: self.model.get_parameter(name) for name in self.values}  # a checkpoint brings others
        now = {name: weight.data for name, weight in weights.items()}
        try:
            for name, weight in weights.items():
                weight.data = self.values[name]
            with torch.no_grad():
                yield
        finally:
            for name, weight in weights.items():
                weight.data = now[name]
