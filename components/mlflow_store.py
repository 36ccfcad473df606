"""MLflow's store, for the two components that open it: its database, made complete or absent, and what is wrong with
it, in one sentence. MLflow is not imported."""

import os
from collections.abc import Callable
from pathlib import Path

from components.config.groups.tracking import tracking_uri
from components.errors import MartletError, system_problem

_SIGNS_OF_DAMAGE = (
    "malformed", "not a database", "no such table", "no such column", "unexpected state", "out-of-date", "revision",
    "already exists", "Could not decode", "not JSON",
)  # fmt: skip
"""Words by which SQLite, SQLAlchemy, Alembic and MLflow name a file that they cannot read."""


def address(workspace: Path, make: Callable[[str], object]) -> str:
    """Return the address of the store.

    A SQLite file that is not there yet is made beside its place, by `make(address)`, and then renamed: MLflow makes its
    tables one by one, and never goes on where a full disk or a kill stopped it.

    Raises:
        MartletError: a folder stands in the file's place, which MLflow would try to open for minutes.
    """
    from filelock import FileLock

    uri = tracking_uri(workspace)
    (workspace / "mlruns").mkdir(parents=True, exist_ok=True)
    database = Path(uri.removeprefix("sqlite:///"))
    if uri.startswith("sqlite:///") and database.is_dir():
        raise MartletError(_damage(uri, "a folder stands in its place"))
    if uri.startswith("sqlite:///") and not database.exists():
        temporary = database.with_name(f".{database.name}.{os.getpid()}.tmp")
        with FileLock(database.with_name("database.lock")):
            try:
                if not database.exists():
                    make(f"sqlite:///{temporary}")
                    temporary.rename(database)
            finally:  # also what a killed process has left
                for leftover in database.parent.glob(f".{database.name}.*.tmp*"):
                    leftover.unlink()
    return uri


def problem(error: Exception, workspace: Path) -> str:
    """Return what is wrong, what is lost, and what to do."""
    uri = tracking_uri(workspace)
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if full := system_problem(error):
        return f"MLflow at {uri}: {full}"
    if uri.startswith("sqlite:") and any(sign in reason for sign in _SIGNS_OF_DAMAGE):
        return _damage(uri, reason)
    if uri.startswith("sqlite:") and "disk I/O error" in reason:
        return (
            f"the MLflow database {uri.removeprefix('sqlite:///')} cannot be read or written ({reason}): look at the "
            "disk, its quota and the limit on files (`ulimit -f`), and try again. If that does not help, the file is "
            "damaged: put back a copy"
        )
    if "error code 401" in reason or "error code 403" in reason:
        return (
            f"the MLflow server at {uri} refuses the login; set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD "
            "in the environment"
        )
    if "failed with exception" in reason:
        return (
            f"the MLflow server at {uri} does not answer; start it, or unset MLFLOW_TRACKING_URI to use the "
            f"workspace's own store in {workspace / 'mlruns'}"
        )
    return f"MLflow at {uri}: {reason}"


def _damage(uri: str, reason: str) -> str:
    return (
        f"the MLflow database {uri.removeprefix('sqlite:///')} is damaged ({reason}): runs, versions and who "
        "is champion cannot be read, while the models in mlruns/models are whole. Put back a copy of the file, or "
        "move the file away: `martlet run` then makes a new one and registers its last model again"
    )
