"""Where runs are remembered."""

from typing import Literal

from components.config.fields import Group, field


class Tracking(Group):
    """MLflow, under mlruns/ unless MLFLOW_TRACKING_URI says otherwise."""

    report_to: Literal["mlflow", "none"] = field("mlflow", "where metrics go beside the run's own files")
    experiment_name: str = field("martlet", "MLflow experiment")
