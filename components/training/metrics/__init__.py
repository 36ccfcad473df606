"""Metrics of the answers that evaluations generate: one file each, named by `--eval_metric` (nlg, acc, …)."""

from typing import Protocol

from components.plugins import Kind


class MetricMethod(Protocol):
    """What the file of a metric defines."""

    def metrics(self, answers: list[str], references: list[str]) -> dict[str, float]:
        """Return figures by name, of all validation rows; `eval_` is put before the names.

        Args:
            answers: what the model answers to the prompt of each row, without control tokens.
            references: the last answer of each row.
        """
        ...


METRICS = Kind("metric", "eval_metric", __name__, MetricMethod)
