"""A temporary folder for the stages, with parameters for looking at data."""

import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from components.config import Params
from components.errors import DataGateError
from tasks.claim import git_ignored
from tasks.stages.paths import Paths


@contextmanager
def folder(params: Params, workspace: Path) -> Generator[tuple[Params, Paths]]:
    """Give the parameters without evaluation sets, and a run folder that is removed at the end."""
    params = params.model_copy(update={"data": params.data.model_copy(update={"eval_dataset": []})})
    with TemporaryDirectory(prefix="martlet-data-") as root:
        yield params, Paths(Path(root), workspace)


@contextmanager
def report_kept(paths: Paths) -> Generator[None]:
    """Copy the report of a gate that closes to `.martlet/data.html` in the workspace, and name the copy in the error:
    the folder of `paths` does not stay."""
    try:
        yield
    except DataGateError as error:
        report = next(paths.root.rglob("data.html"), None)
        if report:
            copy = git_ignored(paths.workspace / ".martlet") / report.name
            shutil.copy(report, copy)
            error.args = (str(error).replace(str(report), str(copy)),)
        raise


def in_order(params: Params) -> Params:
    """Return the parameters with the rows in their own order, and without validation rows."""
    changes = {"dataset_shuffle": False, "split_dataset_ratio": 0.0}
    return params.model_copy(update={"data": params.data.model_copy(update=changes)})
