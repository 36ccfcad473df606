"""Connections to MLflow's registry, for readers and for one writer at a time."""

import logging
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from components.errors import MartletError
from components.mlflow_store import address, problem

if TYPE_CHECKING:
    from mlflow import MlflowClient


WRITER_TIMEOUT_S = 600.0
"""Seconds to wait for another writer, which may be copying weights."""


@contextmanager
def connected(workspace: Path) -> Generator["MlflowClient"]:
    """Yield a client of the workspace's MLflow store.

    Raises:
        MartletError: the server does not answer within about ten seconds, or refuses a request; or the database is
            damaged.
    """
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "4")
    from alembic.util import CommandError
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    logging.getLogger("mlflow").setLevel(logging.CRITICAL)  # what it would log is raised as well
    try:
        uri = address(workspace, MlflowClient)
        yield MlflowClient(uri, registry_uri=uri)
    except (MlflowException, SQLAlchemyError, CommandError) as error:
        raise MartletError(problem(error, workspace)) from error


@contextmanager
def writing(workspace: Path) -> Generator["MlflowClient"]:
    """Yield a client as `connected`, to one writer at a time.

    Raises:
        MartletError: as `connected`, or another writer does not end within WRITER_TIMEOUT_S.
    """
    from filelock import FileLock, Timeout

    (workspace / "mlruns").mkdir(parents=True, exist_ok=True)
    file = workspace / "mlruns/registry.lock"
    with ExitStack() as stack:
        try:
            stack.enter_context(FileLock(file, timeout=WRITER_TIMEOUT_S))
        except Timeout as error:
            raise MartletError(f"another process has held {file} for {WRITER_TIMEOUT_S:g} s; end it") from error
        yield stack.enter_context(connected(workspace))


def tags_and_aliases(client: "MlflowClient", name: str) -> tuple[dict[str, str], dict[str, int]]:
    """Return tags and aliases of the registered model; both are empty without such a model."""
    from mlflow.exceptions import MlflowException

    try:
        model = client.get_registered_model(name)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return {}, {}
        raise
    return dict(model.tags), {alias: int(version) for alias, version in model.aliases.items()}
