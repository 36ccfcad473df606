"""Callbacks: what acts between optimizer steps, one file each, named by `--callbacks` (lisa, …)."""

from typing import TYPE_CHECKING, Any, Protocol

from components.plugins import Kind

if TYPE_CHECKING:
    from components.training.job import Job


class CallbackMethod(Protocol):
    """What the file of a callback defines. `TUNERS = ("full",)` declares the tuners that it works with, by default
    all."""

    def callback(self, job: "Job") -> Any:
        """Return a transformers TrainerCallback. What it draws must follow from (seed, step), so that a run that was
        interrupted goes on as it would have."""
        ...


CALLBACKS = Kind("callback", "callbacks", __name__, CallbackMethod)
