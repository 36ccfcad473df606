"""The end of a run in MLflow: scores, lineage, reports."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.files import read_json
from components.tracking.points import milliseconds, points

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

STATUS = {"done": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "killed": "KILLED"}
REPORTS = ("*.html", "*.png", "*.csv", "*.json", "eval/*.json")
MAX_REPORT_BYTES = 5 * 1024**2
"""A larger report is not copied into MLflow."""


def close(client: "MlflowClient", parent: "Run", root: Path, run: dict[str, Any]) -> None:
    """End the MLflow run `parent` with the results below `root`; a stage without an end was killed with the run."""
    identity, ended = parent.info.run_id, milliseconds(run["ended"])
    children = f"tags.`mlflow.parentRunId` = '{identity}' and status = 'RUNNING'"
    for child in client.search_runs([parent.info.experiment_id], children):
        client.set_terminated(child.info.run_id, "KILLED", ended)
    if run["outcome"] == "done" and (root / "metrics.json").exists():
        client.log_batch(identity, points("accuracy", read_json(root / "metrics.json"), run["ended"], 0))
    for name, value in lineage(root).items():
        client.set_tag(identity, name, value)
    for report in _reports(root, run):
        folder = Path("reports") / report.parent.relative_to(root / "reports")
        client.log_artifact(identity, str(report), folder.as_posix())
    client.log_artifact(identity, str(root / "logs/run.json"))
    client.set_terminated(identity, STATUS[run["outcome"]], ended)
    client.set_tag(identity, "martlet.complete", "true")


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
