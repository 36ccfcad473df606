"""Where runs are remembered."""

import os
from pathlib import Path
from typing import Literal

from components.config.fields import Group, field


class Tracking(Group):
    """MLflow, under mlruns/ unless MLFLOW_TRACKING_URI says otherwise."""

    report_to: Literal["mlflow", "none"] = field("mlflow", "where metrics go beside the run's own files")
    experiment_name: str = field("martlet", "MLflow experiment")


def tracking_uri(workspace: Path) -> str:
    """The MLflow store of a workspace, for runs and models alike: MLFLOW_TRACKING_URI, or a SQLite file in mlruns/."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{workspace.resolve()}/mlruns/mlflow.db"
