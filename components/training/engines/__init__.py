"""Engines: how the processes of a training divide a model and its optimizer among them. One file each.

engine = engine_of(params)
with engine.loading(params) as placement:        # where from_pretrained puts the weights
    model = load_model(folder, placement=placement)
TrainingArguments(**engine.arguments(job), ...)
"""

from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from components.config import Params
from components.training.sharding import plan_of

if TYPE_CHECKING:
    from components.training.job import Job


class Engine(Protocol):
    """What the file of an engine defines."""

    def loading(self, params: Params) -> AbstractContextManager[dict[str, Any]]:
        """Return a context in which the model is loaded, with the keyword arguments of `from_pretrained`."""
        ...

    def arguments(self, job: "Job") -> dict[str, Any]:
        """Return the keyword arguments of transformers' `TrainingArguments`; what this needs of the process is set."""
        ...

    def is_running(self, trainer: Any) -> bool:
        """Return whether the trainer, whose model is prepared, trains with this engine."""
        ...

    def save_optimizer(self, trainer: Any, folder: Path) -> bool:
        """Write the optimizer's state into the folder of a checkpoint; False leaves that to transformers."""
        ...

    def load_optimizer(self, trainer: Any, folder: Path) -> bool:
        """Read what `save_optimizer` wrote; False leaves that to transformers."""
        ...

    def end(self, trainer: Any) -> None:
        """Let go of what the engine holds of the process and of the trained model; the next model is loaded whole."""
        ...


def engine_of(params: Params) -> Engine:
    """Return the module of the engine that the parameters ask for."""
    module: Any = import_module(f"{__name__}.{plan_of(params.distributed).engine}")
    return module
