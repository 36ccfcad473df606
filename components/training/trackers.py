"""TensorBoard, Weights & Biases and SwanLab beside MLflow: each is written by transformers' own callback.

These callbacks read where they write, and the project's name, from variables of the environment.
"""

import os
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec

from components.config import Params
from components.training import ranks
from components.training.job import Job

PACKAGES = {"tensorboard": ("tensorboard", "tensorboardX"), "wandb": ("wandb",), "swanlab": ("swanlab",)}
"""The packages of which a tracker needs one, by its name."""


def callbacks_of(params: Params) -> list[str]:
    """Return the trackers that transformers writes to, as its `report_to` names them."""
    return [name for name in params.tracking.report_to if name in PACKAGES]


def missing_packages(params: Params) -> list[str]:
    """Return a sentence for each tracker whose package is not installed."""
    return [
        f"report_to: {name} needs a package that is not installed: pip install {name}"
        for name in callbacks_of(params)
        if not any(map(find_spec, PACKAGES[name]))
    ]


@contextmanager
def tracked(job: Job) -> Generator[None]:
    """Let the trackers of a job write below its `logs` within the context, under the name of the experiment, and close
    their runs after the training. What the user has set in the environment wins."""
    names, project = callbacks_of(job.params), job.params.tracking.experiment_name
    variables = {
        "TENSORBOARD_LOGGING_DIR": str(job.logs / "tensorboard"),
        "WANDB_DIR": str(job.logs),
        "WANDB_PROJECT": project,
        "SWANLAB_LOG_DIR": str(job.logs / "swanlab"),
    }
    added = {name: value for name, value in variables.items() if names and name not in os.environ}
    os.environ.update(added)
    if names and ranks.is_writer():
        job.logs.mkdir(parents=True, exist_ok=True)  # for wandb, which else writes to the temporary folder
    try:
        if "swanlab" in names and ranks.is_writer():
            _begin_swanlab(job.checkpoints.name, os.environ.get("SWANLAB_PROJECT", project))
        yield
    finally:
        for name in added:
            del os.environ[name]
    for name in {"wandb", "swanlab"} & set(names):
        if ranks.is_writer():
            import_module(name).finish()  # the program ends without the functions that libraries leave for its end


def _begin_swanlab(name: str, project: str) -> None:
    """Begin a run of swanlab. The callback of transformers 5.23 only begins one where `swanlab.get_run()` is None, and
    swanlab 0.10 raises an error there instead."""
    import_module("swanlab").init(project=project, experiment_name=name)
