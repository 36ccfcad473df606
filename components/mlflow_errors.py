"""What is wrong with an MLflow store, in one sentence, for the two components that open it. MLflow is not imported."""

from pathlib import Path

from components.config.groups.tracking import tracking_uri
from components.errors import system_problem

_SIGNS_OF_DAMAGE = (
    "malformed", "not a database", "no such table", "no such column", "unexpected state", "out-of-date", "revision",
    "disk I/O error", "Could not decode", "not JSON",
)  # fmt: skip
"""Words by which SQLite, SQLAlchemy, Alembic and MLflow name a file that they cannot read."""


def problem(error: Exception, workspace: Path) -> str:
    """Return what is wrong, what is lost, and what to do."""
    uri = tracking_uri(workspace)
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if full := system_problem(error):
        return f"MLflow at {uri}: {full}"
    if uri.startswith("sqlite:") and any(sign in reason for sign in _SIGNS_OF_DAMAGE):
        return (
            f"the MLflow database {uri.removeprefix('sqlite:///')} is damaged ({reason}): runs, versions and who "
            "is champion cannot be read, while the models in mlruns/models are whole. Put back a copy of the file, or "
            "move the file away: `martlet run` then makes a new one and registers its last model again"
        )
    if "failed with exception" in reason:
        return (
            f"the MLflow server at {uri} does not answer; start it, or unset MLFLOW_TRACKING_URI to use the "
            f"workspace's own store in {workspace / 'mlruns'}"
        )
    return f"MLflow at {uri}: {reason}"
