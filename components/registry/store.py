"""Connections to MLflow's registry, for readers and for one writer at a time."""

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from components.config.groups.tracking import tracking_uri
from components.errors import MartletError

if TYPE_CHECKING:
    from mlflow import MlflowClient


@contextmanager
def connected(workspace: Path) -> Generator["MlflowClient"]:
    """Yield a client of the workspace's MLflow store.

    Raises:
        MartletError: the server does not answer within about ten seconds, or refuses a request.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "4")
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    uri = tracking_uri(workspace)
    (workspace / "mlruns").mkdir(parents=True, exist_ok=True)
    try:
        yield MlflowClient(uri, registry_uri=uri)
    except MlflowException as error:
        if "failed with exception" in str(error):
            raise MartletError(
                f"the MLflow server at {uri} does not answer; start it, or unset MLFLOW_TRACKING_URI to use the "
                f"workspace's own store in {workspace / 'mlruns'}"
            ) from error
        raise MartletError(f"MLflow at {uri}: {str(error).splitlines()[0]}") from error


@contextmanager
def writing(workspace: Path) -> Generator["MlflowClient"]:
    """Yield a client as `connected`, to one writer at a time."""
    from filelock import FileLock

    (workspace / "mlruns").mkdir(parents=True, exist_ok=True)
    with FileLock(workspace / "mlruns/registry.lock"), connected(workspace) as client:
        yield client
