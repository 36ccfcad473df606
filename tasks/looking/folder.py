"""Where looking works."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from components.config import Params
from tasks.stages.paths import Paths


@contextmanager
def folder(params: Params, workspace: Path) -> Generator[tuple[Params, Paths]]:
    """A folder to work in, and the parameters without question sets, which a model is measured on."""
    params = params.model_copy(update={"data": params.data.model_copy(update={"eval_dataset": []})})
    with TemporaryDirectory(prefix="martlet-data-") as made:
        yield params, Paths(Path(made), workspace)


def in_order(params: Params) -> Params:
    """The parameters with the rows in their own order, and none held out."""
    asked = {"dataset_shuffle": False, "split_dataset_ratio": 0.0}
    return params.model_copy(update={"data": params.data.model_copy(update=asked)})
