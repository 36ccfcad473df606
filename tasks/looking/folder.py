"""A temporary folder for the stages, with parameters for looking at data."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from components.config import Params
from tasks.stages.paths import Paths


@contextmanager
def folder(params: Params, workspace: Path) -> Generator[tuple[Params, Paths]]:
    """Give the parameters without evaluation sets, and a run folder that is removed at the end."""
    params = params.model_copy(update={"data": params.data.model_copy(update={"eval_dataset": []})})
    with TemporaryDirectory(prefix="martlet-data-") as root:
        yield params, Paths(Path(root), workspace)


def in_order(params: Params) -> Params:
    """Return the parameters with the rows in their own order, and without validation rows."""
    changes = {"dataset_shuffle": False, "split_dataset_ratio": 0.0}
    return params.model_copy(update={"data": params.data.model_copy(update=changes)})
