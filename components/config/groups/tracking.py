"""Parameters of the trackers that record runs, and the address of MLflow's store."""

import os
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, field_validator

from components.config.fields import Group, as_list, field
from components.errors import ConfigError

Tracker = Literal["mlflow", "tensorboard", "wandb", "swanlab", "none"]


class Tracking(Group):
    """MLflow, in mlruns/ or at the address MLFLOW_TRACKING_URI, and other trackers of a training."""

    report_to: Annotated[list[Tracker], BeforeValidator(as_list)] = field(
        ["mlflow"], "where runs are logged, beside their own files"
    )
    experiment_name: str = field("martlet", "MLflow's experiment, the project in wandb and swanlab")

    @field_validator("report_to")
    @classmethod
    def _as_set(cls, names: list[Tracker]) -> list[Tracker]:
        names = list(dict.fromkeys(names)) or ["none"]
        if "none" in names and len(names) > 1:
            raise ValueError(f"is none, or names trackers, not both: {' '.join(names)}")
        return names


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
