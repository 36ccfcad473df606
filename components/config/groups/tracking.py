"""Parameters of MLflow, which records runs, and the address of its store."""

import os
from pathlib import Path
from typing import Literal

from components.config.fields import Group, field
from components.errors import ConfigError


class Tracking(Group):
    """MLflow, in mlruns/ or at the address MLFLOW_TRACKING_URI."""

    report_to: Literal["mlflow", "none"] = field("mlflow", "where runs are logged, beside their own files")
    experiment_name: str = field("martlet", "MLflow experiment")


def tracking_uri(workspace: Path) -> str:
    """Return the address of a workspace's MLflow store, for runs and models: `$MLFLOW_TRACKING_URI`, or a SQLite file
    in mlruns/.

    Raises:
        ConfigError: the workspace's path has a question mark, at which the address of a SQLite file ends.
    """
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return uri
    if "?" in str(workspace.resolve()):
        raise ConfigError(
            f"{workspace.resolve()}: MLflow cannot keep its database in a folder whose path has a question mark; "
            "rename the folder, or name a server with MLFLOW_TRACKING_URI"
        )
    return f"sqlite:///{workspace.resolve()}/mlruns/mlflow.db"
