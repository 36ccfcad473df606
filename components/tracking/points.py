"""MLflow metrics from the numbers in a run's files."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

NOT_METRICS = {"time", "step", "total_steps", "eta", "settings"}
MAX_METRICS_PER_REQUEST = 1000
"""MLflow's limit."""


def points(prefix: str, values: dict[str, Any], seconds: float, step: int) -> list["Metric"]:
    """Return metrics of the numbers in nested mappings: `{"a": {"b": 1}}` is `prefix/a/b`, or `a/b` without prefix.

    Args:
        seconds: time of the numbers, since 1970.
    """
    from mlflow.entities import Metric

    flat = numbers(values)
    return [
        Metric(metric_name(f"{prefix}/{name}" if prefix else name), flat[name], milliseconds(seconds), step)
        for name in flat
    ]


def tail(client: "MlflowClient", file: Path, prefix: str, into: list["Run"]) -> int:
    """Log the new lines of a JSONL `file` to every run of `into`; return the last step in the file.

    A tag on the first run of `into` holds the offset of the next new line. The tag is set last: after a crash, metrics
    are sent again, and MLflow keeps equal metrics once.
    """
    key = f"martlet.read.{prefix}"
    owner = into[0]
    offset, step = (int(number) for number in owner.data.tags.get(key, "0 0").split())
    if not file.exists() or file.stat().st_size <= offset:
        return step
    with file.open("rb") as stream:
        stream.seek(offset)
        text = stream.read()
    text = text[: text.rfind(b"\n") + 1]
    metrics: list[Metric] = []
    for line in text.splitlines():
        entry = json.loads(line)
        step = int(entry.get("step", step))
        metrics += points(prefix, {k: v for k, v in entry.items() if k not in NOT_METRICS}, entry["time"], step)
    for start in range(0, len(metrics), MAX_METRICS_PER_REQUEST):
        for run in into:
            client.log_batch(run.info.run_id, metrics=metrics[start : start + MAX_METRICS_PER_REQUEST])
    client.set_tag(owner.info.run_id, key, f"{offset + len(text)} {step}")
    return step


def numbers(values: dict[str, Any]) -> dict[str, float]:
    """Return the numbers in nested mappings: `{"a": {"b": 1}}` is `{"a/b": 1.0}`."""
    flat: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= {f"{name}/{inner}": number for inner, number in numbers(value).items()}
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            flat[name] = float(value)
    return flat


def metric_name(name: str) -> str:
    """Replace what MLflow does not allow: other than letters, digits, blanks and `_ - . : /`."""
    return re.sub(r"[^/\w.\- :]", "_", name)


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
