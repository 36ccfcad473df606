"""Which checkpoint of a run is the best, by a figure of its evaluations."""

from typing import Any, NamedTuple


class Measure(NamedTuple):
    """The figure of the evaluations by which checkpoints are compared, such as `eval_loss`."""

    name: str = "eval_loss"
    greater_is_better: bool = False

    def best_step(self, history: list[dict[str, Any]], steps: list[int]) -> int | None:
        """Return the step of `steps` with the best figure in the trainer's history, the first of equal ones."""
        figures = {entry["step"]: entry[self.name] for entry in history if self.name in entry}
        sign = -1 if self.greater_is_better else 1
        return min((step for step in steps if step in figures), key=lambda s: (sign * figures[s], s), default=None)

    def evaluations_since_best(self, history: list[dict[str, Any]]) -> int:
        """Return how many evaluations the trainer's history has after the first one with the best figure."""
        steps = [entry["step"] for entry in history if self.name in entry]
        best = self.best_step(history, steps)
        return 0 if best is None else len(steps) - 1 - steps.index(best)


LOSS = Measure()


def measure(metric_for_best_model: str = "eval_loss", greater_is_better: bool | None = None) -> Measure:
    """Return the measure that the two parameters name; the smaller loss is the better one, and the greater figure."""
    greater = "loss" not in metric_for_best_model if greater_is_better is None else greater_is_better
    return Measure(metric_for_best_model, greater)
