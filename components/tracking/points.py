"""From the numbers in a run's files to MLflow's metrics."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

NOT_MEASURED = {"time", "step", "total_steps", "eta"}
BATCH = 1000
"""MLflow's own limit for one request."""


def points(prefix: str, values: dict[str, Any], seconds: float, step: int) -> list["Metric"]:
    """Metrics of the numbers in nested mappings, by path: `{"a": {"b": 1}}` is `prefix/a/b`; time in seconds."""
    from mlflow.entities import Metric

    numbers = _numbers(values)
    return [Metric(_metric_name(f"{prefix}/{name}"), numbers[name], milliseconds(seconds), step) for name in numbers]


def tail(client: "MlflowClient", file: Path, prefix: str, into: list["Run"]) -> int:
    """Log the lines of a JSONL `file` that have not been logged, to every run of `into`; return the last step in it.

    How far that is stands on the first run of `into` as a tag, which is set last: after a crash in between, points
    are sent again, and MLflow keeps equal points once.
    """
    key = f"martlet.read.{prefix}"
    owner = into[0]
    at, step = (int(number) for number in owner.data.tags.get(key, "0 0").split())
    if not file.exists() or file.stat().st_size <= at:
        return step
    with file.open("rb") as stream:
        stream.seek(at)
        text = stream.read()
    text = text[: text.rfind(b"\n") + 1]
    found: list[Metric] = []
    for line in text.splitlines():
        entry = json.loads(line)
        step = int(entry.get("step", step))
        found += points(prefix, {k: v for k, v in entry.items() if k not in NOT_MEASURED}, entry["time"], step)
    for start in range(0, len(found), BATCH):
        for run in into:
            client.log_batch(run.info.run_id, metrics=found[start : start + BATCH])
    client.set_tag(owner.info.run_id, key, f"{at + len(text)} {step}")
    return step


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    flat: dict[str, float] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= {f"{name}/{inner}": number for inner, number in _numbers(value).items()}
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            flat[name] = float(value)
    return flat


def _metric_name(name: str) -> str:
    """MLflow allows letters, digits, blanks and `_ - . : /`."""
    return re.sub(r"[^/\w.\- :]", "_", name)


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
