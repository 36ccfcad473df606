"""The end of a training whose evaluations no longer become better."""

from typing import Any

from transformers.trainer_callback import TrainerCallback

from components.errors import ConfigError, did_you_mean
from components.training.job import Job


class Judge(TrainerCallback):
    """Checks that evaluations have the figure that makes a checkpoint the best, and ends the training after
    `early_stop_interval` evaluations without a better one. What it knows is the history, which a checkpoint holds."""

    def __init__(self, job: Job) -> None:
        self.measure, self.patience = job.measure, job.train.early_stop_interval

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Compare the newest evaluation with those before.

        Raises:
            ConfigError: it has no such figure.
        """
        name, figures = self.measure.name, kwargs["metrics"]
        if name not in figures:
            raise ConfigError(
                f"metric_for_best_model: evaluations have no {name}{did_you_mean(name, figures)}; choose one of "
                f"{', '.join(figures)}"
            )
        if self.patience and self.measure.evaluations_since_best(state.log_history) >= self.patience:
            control.should_training_stop = control.should_save = True
