"""MLflow's page of runs: the view that Martlet defines there, its address, and how to open it."""

import json
import os
import shlex
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from components.config.groups.tracking import tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

VIEW = "mlflow.sharedViewState.martlet"
"""Tag of an experiment in which MLflow's pages look for the view that `viewStateShareKey=martlet` names."""
COLUMNS = (
    "metrics.`score`", "metrics.`train/loss`", "metrics.`train/eval_loss`", "params.`model.model`",
    "params.`data.dataset`", "params.`tuner.tuner_type`", "params.`lora.lora_rank`", "params.`train.learning_rate`",
    "params.`train.num_train_epochs`", "tags.`gate`", "attributes.`Dataset`", "attributes.`Source`",
    "attributes.`User`",
)  # fmt: skip
"""Columns of the list of runs, as MLflow's pages name them."""


def define_view(client: "MlflowClient", experiment: str) -> None:
    """Define the view of an experiment: runs without their stages, best score first, columns worth comparing."""
    view: dict[str, Any] = {
        "searchFilter": "tags.`martlet.run` != ''",
        "orderByKey": "metrics.`score`",
        "orderByAsc": False,
        "selectedColumns": COLUMNS,
    }
    client.set_experiment_tag(experiment, VIEW, json.dumps(view))


def runs_page(workspace: Path, experiment_name: str) -> tuple[str | None, str]:
    """Return the command that starts MLflow's pages, or None where a server has them, and the address of the runs.

    `workflowType` keeps MLflow from its page of traces, which has no runs. The id of the experiment is read from the
    workspace's SQLite file: importing MLflow takes seconds.
    """
    uri, query = tracking_uri(workspace), "viewStateShareKey=martlet&workflowType=machine_learning"
    if uri.startswith("http"):
        address = urlsplit(uri)
        return None, f"{address.scheme}://{address.netloc.rpartition('@')[2]}{address.path.rstrip('/')}/#/experiments"
    store = workspace / "mlruns/mlflow.db"
    identity = _experiment_id(store, experiment_name)
    page = f"experiments/{identity}/runs?{query}" if identity else "experiments"
    command = f"mlflow ui --backend-store-uri {shlex.quote(f'sqlite:///{os.path.relpath(store)}')}"
    return command, f"http://127.0.0.1:5000/#/{page}"


def _experiment_id(store: Path, name: str) -> str | None:
    """Return the id of the experiment, or None: it is not there, or the file is no database of MLflow."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(store))}?mode=ro", uri=True)) as database:
            row = database.execute("SELECT experiment_id FROM experiments WHERE name = ?", [name]).fetchone()
    except sqlite3.Error:
        return None
    return str(row[0]) if row else None
