"""The sync of a run's files into MLflow, idempotent."""

import getpass
import json
import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.config.groups.tracking import tracking_uri
from components.errors import MartletError
from components.files import read_json
from components.mlflow_store import address, problem
from components.tracking.closing import STATUS, close
from components.tracking.note import describe
from components.tracking.page import VIEW, define_view
from components.tracking.points import metric_name, milliseconds, numbers, tail

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

MAX_PARAMS_PER_REQUEST = 100
"""MLflow's limit."""


def sync(root: Path, workspace: Path) -> str:
    """Bring MLflow up to date with the run below `root`; return the id of its MLflow run.

    Stages that ran before the run began were reused; they get no child, for their logs need not be what made the
    files that are there now. Reports go into MLflow as artifacts when the run has ended; weights never do.

    Raises:
        MartletError: the server does not answer, or refuses.
    """
    from filelock import FileLock

    run = read_json(root / "logs/run.json")
    with FileLock(root / "logs/tracking.lock"), _connected(workspace) as client:
        parent = _parent(client, run, root, workspace)
        identity = parent.info.run_id
        if "martlet.complete" in parent.data.tags:
            return identity
        children = client.search_runs([parent.info.experiment_id], f"tags.`mlflow.parentRunId` = '{identity}'")
        stages = [_stage(client, parent, children, log) for log in _logs(root, run["began"])]
        tail(client, root / "logs/system.jsonl", "system", [parent])
        client.set_tag(identity, "mlflow.note.content", describe(root, run, stages))
        if "ended" in run:
            close(client, parent, root, run)
        return identity


@contextmanager
def _connected(workspace: Path) -> Generator["MlflowClient"]:
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "4")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from alembic.util import CommandError
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # what it would log is raised as well
    try:
        yield MlflowClient(address(workspace, MlflowClient))
    except (MlflowException, SQLAlchemyError, CommandError) as error:
        raise MartletError(f"{problem(error, workspace)}. The run's own files in logs/ hold everything") from error


def _parent(client: "MlflowClient", run: dict[str, Any], root: Path, workspace: Path) -> "Run":
    """Return the MLflow run of `run` with its parameters; create what is missing."""
    from mlflow.entities import Param

    experiment = _experiment(client, workspace, run["params"]["tracking"]["experiment_name"])
    found = client.search_runs([experiment], f"tags.`martlet.run` = '{run['id']}'")
    parent = found[0] if found else _create(client, experiment, run, root)
    given = {
        f"{group}.{key}": value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for group, values in run["params"].items()
        for key, value in values.items()
        if value is not None
    }
    missing = [Param(key, value) for key, value in given.items() if key not in parent.data.params]
    for start in range(0, len(missing), MAX_PARAMS_PER_REQUEST):
        client.log_batch(parent.info.run_id, params=missing[start : start + MAX_PARAMS_PER_REQUEST])
    return parent


def _experiment(client: "MlflowClient", workspace: Path, name: str) -> str:
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found and VIEW not in found.tags:
        define_view(client, found.experiment_id)
    if not found:
        ours = tracking_uri(workspace).startswith("sqlite:")
        artifacts = (workspace.resolve() / "mlruns/artifacts").as_uri() if ours else None
        try:
            experiment = client.create_experiment(name, artifacts, {"mlflow.experimentKind": "finetuning"})
            define_view(client, experiment)
            return experiment
        except MlflowException:
            found = client.get_experiment_by_name(name)
            if not found:  # otherwise another run has made it in the meantime
                raise
    return found.experiment_id


def _create(client: "MlflowClient", experiment: str, run: dict[str, Any], root: Path) -> "Run":
    """A new parent run. Another below the same root that is still open was never ended, and is dead by now."""
    where = str(root.resolve())
    for stale in client.search_runs([experiment], f"tags.`martlet.root` = '{where}' and status = 'RUNNING'"):
        client.set_terminated(stale.info.run_id, "KILLED")
    tags = {
        "martlet.run": run["id"],
        "martlet.root": where,
        "martlet.dirty": run["commit"] and str(run["dirty"]).lower(),
        "mlflow.source.name": run["command"],
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": run["commit"],
        "mlflow.user": _user(),
    }
    given = {name: value for name, value in tags.items() if value}
    return client.create_run(experiment, milliseconds(run["began"]), given, run["name"])


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        return str(os.getuid())


def _logs(root: Path, began: float) -> list[Path]:
    """Return the log folders of the stages of this run, in the order of their start."""
    attempts = [(_attempt(log), log) for log in (root / "logs").iterdir() if log.is_dir()]
    return [log for attempt, log in sorted(attempts) if attempt >= began]


def _attempt(log: Path) -> float:
    """Return the start of a stage in seconds since 1970, by the first line of its log, or 0 without a log."""
    try:
        with (log / "progress.jsonl").open(encoding="utf-8") as lines:
            return json.loads(lines.readline())["time"]
    except (OSError, ValueError):
        result = _result(log)
        return result["began"] if result else 0.0


def _result(log: Path) -> dict[str, Any] | None:
    try:
        return read_json(log / "result.json")
    except FileNotFoundError:
        return None


def _stage(client: "MlflowClient", parent: "Run", children: list["Run"], log: Path) -> dict[str, Any]:
    """One stage as a child run; a stage that is tried again is another child. Returns its result, or that it runs."""
    attempt = _attempt(log)
    result = _result(log)
    mine = [child for child in children if child.data.tags["martlet.stage"] == log.name]
    child = next((child for child in mine if child.data.tags["martlet.attempt"] == str(attempt)), None)
    if not child:
        for earlier in mine:
            if earlier.info.status == "RUNNING":
                client.set_terminated(earlier.info.run_id, "KILLED")
        tags = {
            "mlflow.parentRunId": parent.info.run_id,
            "mlflow.user": parent.data.tags.get("mlflow.user", ""),
            "mlflow.source.name": parent.data.tags["mlflow.source.name"],
            "mlflow.source.type": "LOCAL",
            "martlet.stage": log.name,
            "martlet.attempt": str(attempt),
        }
        started = milliseconds(result["began"] if result else attempt)
        child = client.create_run(parent.info.experiment_id, started, tags, log.name)
    if child.info.status == "RUNNING":
        prefix = log.name.replace("@", "/")
        tail(client, log / "progress.jsonl", prefix, [child, parent])
        if result:
            _finish(client, child, result)
    return result or {"stage": log.name, "status": "running"}


def _finish(client: "MlflowClient", child: "Run", result: dict[str, Any]) -> None:
    """Log a stage's result as parameters of its child run, for MLflow draws a chart of each metric, and end the run."""
    from mlflow.entities import Param

    results = [Param(metric_name(name), f"{value:.10g}") for name, value in numbers(result.get("metrics", {})).items()]
    client.log_batch(child.info.run_id, params=results[:MAX_PARAMS_PER_REQUEST])
    if "message" in result:
        client.set_tag(child.info.run_id, "mlflow.note.content", result["message"])
    outcome = "interrupted" if result["exit_code"] == 130 else result["status"]
    client.set_terminated(child.info.run_id, STATUS[outcome], milliseconds(result["began"] + result["seconds"]))
