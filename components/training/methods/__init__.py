"""Training methods: one file each, named by `--method` (sft, pt, …).

A method says which shape of tokens it learns from (`components.tokens.SHAPES`), and makes the trainer of a job. The
trainer is transformers' or TRL's, below the mixin of `components.training.trainer`.
"""

from typing import TYPE_CHECKING, Any, Protocol

from components.plugins import Kind
from components.tokens import ShapeName

if TYPE_CHECKING:
    from components.training.job import Job


class Method(Protocol):
    """What the file of a training method defines."""

    SHAPE: ShapeName

    def trainer(self, job: "Job") -> Any:
        """Return a transformers Trainer with `JobTrainer` among its classes."""
        ...


METHODS = Kind("training method", "method", __name__, Method)
