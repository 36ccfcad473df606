"""Parameters of MLflow, which records runs, and the address of its store."""

import os
from pathlib import Path
from typing import Literal

from components.config.fields import Group, field


class Tracking(Group):
    """MLflow, in mlruns/ or at the address MLFLOW_TRACKING_URI."""

    report_to: Literal["mlflow", "none"] = field("mlflow", "where runs are logged, beside their own files")
    experiment_name: str = field("martlet", "MLflow experiment")


def tracking_uri(workspace: Path) -> str:
    """Return the address of a workspace's MLflow store, for runs and models: `$MLFLOW_TRACKING_URI`, or a SQLite file
    in mlruns/."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace.resolve()}/mlruns/mlflow.db"
