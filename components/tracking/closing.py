"""The end of a run in MLflow: scores, lineage, reports."""

import json
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from components.files import read_json
from components.tracking.note import gate_verdict
from components.tracking.points import milliseconds, points

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric, Run

STATUS = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "killed": "KILLED"}
REPORTS = ("*.html", "*.png", "*.csv", "*.json", "eval/*.json", "eval/*.parquet")
MAX_TAG_LENGTH = 5000
"""MLflow's limit."""
MAX_REPORT_BYTES = 5 * 1024**2
"""A larger report is not copied into MLflow."""


def close(client: "MlflowClient", parent: "Run", root: Path, run: dict[str, Any]) -> None:
    """End the MLflow run `parent` with the results below `root`; a stage without an end was killed with the run."""
    identity, ended = parent.info.run_id, milliseconds(run["ended"])
    children = f"tags.`mlflow.parentRunId` = '{identity}' and status = 'RUNNING'"
    for child in client.search_runs([parent.info.experiment_id], children):
        client.set_terminated(child.info.run_id, "KILLED", ended)
    if run["outcome"] == "done":
        client.log_batch(identity, _scores(root, run["ended"]))
        if datasets := _datasets(root):
            client.log_inputs(identity, datasets)
        if verdict := gate_verdict(root):
            client.set_tag(identity, "gate", f"{verdict['decision']}: {verdict['reason']}"[:MAX_TAG_LENGTH])
    for name, value in lineage(root).items():
        client.set_tag(identity, name, value)
    for report in _reports(root, run):
        folder = Path("reports") / report.parent.relative_to(root / "reports")
        client.log_artifact(identity, str(report), folder.as_posix())
    client.log_artifact(identity, str(root / "logs/run.json"))
    client.set_terminated(identity, STATUS[run["outcome"]], ended)
    client.set_tag(identity, "martlet.complete", "true")


def _scores(root: Path, seconds: float) -> list["Metric"]:
    """Return `accuracy/<set>` and their mean `score`, of the base as step 0, of the fine-tuned model as the last step.

    MLflow's lists show the last value, and its charts a line from the one to the other.
    """
    metrics: list[Metric] = []
    if not (root / "metrics.json").exists():
        return metrics
    steps = read_json(root / "reports/train.json")["steps"] if (root / "reports/train.json").exists() else 1
    for candidate, step in (("base", 0), ("merged", steps)):
        if accuracies := read_json(root / "metrics.json").get(candidate):
            metrics += points("", {"accuracy": accuracies, "score": fmean(accuracies.values())}, seconds, step)
    return metrics


def _datasets(root: Path) -> list["DatasetInput"]:
    """Return the training data as MLflow's datasets, from the manifest of the stage `fetch`."""
    from mlflow.entities import Dataset, DatasetInput

    manifest = root / "data/raw/manifest.json"
    sources = read_json(manifest)["sources"] if manifest.exists() else []
    digests = {source["spec"]: (source.get("sha256") or source.get("revision") or "unknown")[:36] for source in sources}
    return [DatasetInput(Dataset(spec, digest, "local", json.dumps({"uri": spec}))) for spec, digest in digests.items()]


def _reports(root: Path, run: dict[str, Any]) -> list[Path]:
    """Return the reports to log: all of a run that is done, else the reports written since the run began."""
    reports = sorted(report for pattern in REPORTS for report in (root / "reports").glob(pattern))
    since = 0 if run["outcome"] == "done" else run["began"]
    return [
        report for report in reports if report.stat().st_size <= MAX_REPORT_BYTES and report.stat().st_mtime >= since
    ]


def lineage(root: Path) -> dict[str, str]:
    """Return the lineage of the files below `root` as tags: base model, hashes of data and template, weight folders."""
    tags: dict[str, Any] = {}
    if (root / "data/model.json").exists():
        base = read_json(root / "data/model.json")
        tags |= {"base_model": base["model"], "base_revision": base.get("revision") or base.get("sha256")}
    if (root / "data/tokens/template.json").exists():
        tags["template_sha256"] = read_json(root / "data/tokens/template.json").get("template_sha256")
    if (root / "data/tokens/manifest.json").exists():
        tags["data_sha256"] = read_json(root / "data/tokens/manifest.json")["files"]["train.arrow"]["sha256"]
    for weights in ("adapter", "merged"):
        if (root / "models" / weights).exists():
            tags[f"martlet.{weights}"] = (root / "models" / weights).resolve()
    return {name: str(value) for name, value in tags.items() if value}
