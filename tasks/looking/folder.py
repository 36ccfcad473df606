"""Where looking works."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from components.config import Params
from tasks.stages.paths import Paths


@contextmanager
def folder(params: Params, workspace: Path) -> Generator[tuple[Params, Paths]]:
    """A folder to work in, and the parameters with the rows in their own order and none held out."""
    asked = {"dataset_shuffle": False, "split_dataset_ratio": 0.0, "eval_dataset": []}
    params = params.model_copy(update={"data": params.data.model_copy(update=asked)})
    with TemporaryDirectory(prefix="martlet-data-") as made:
        yield params, Paths(Path(made), workspace)
