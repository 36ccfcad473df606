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
    """What the file of a training method defines. It may also define:

    - `MIXES = True`: `--loss_type` may name several losses, each with a weight;
    - `losses(params, named)`: returns the weights of the losses that the method learns by, by name, from those that
      `--loss_type` names;
    - `reference(params)`: returns the names of the answers of a row of which the log probabilities by the reference
      model are computed before the first step.
    """

    SHAPE: ShapeName

    def trainer(self, job: "Job") -> Any:
        """Return a transformers Trainer with `JobTrainer` among its classes."""
        ...


METHODS = Kind("training method", "method", __name__, Method)
