"""Stage `sample`, for workspaces that add it (docs/sampling.md): answers of a model of the pipeline to prompts, judged
by rewards; what is worth learning from is a dataset.

python -m tasks.stages sample MODEL DATASET OUTPUT
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from components import models
from components.config import Params
from components.config.groups.plugins import Plugins
from components.config.groups.train import Train
from tasks.prompts import trained_with
from tasks.sampling import sample
from tasks.stages.paths import Paths, plugin_files
from tasks.stages.runner import Result, main, progress
from tasks.target import Target


def run(params: Params, paths: Paths, model: Path, dataset: str, output: Path) -> Result:
    """Write what is kept of the answers of the model in the folder `model` to the prompts of `dataset`; the names are
    relative to the run's root."""
    folder = paths.root / model
    if params.model.trust_remote_code:
        models.allow_code(folder)
    own = Params(
        data=params.data.model_copy(update={"dataset": [dataset]}),
        template=trained_with(folder, params.template),
        train=Train(seed=params.train.seed),
        plugins=Plugins(external_plugins=[str(file) for file in plugin_files(params, paths.workspace)]),
        **{name: getattr(params, name) for name in ("sample", "reward", "generation", "vllm", "lmdeploy", "sglang")},
    )
    on_progress = _by_prompt(progress(paths, name_of(output)), params.sample.num_return_sequences)
    figures = sample(Target(folder, None, own), paths.root / output, paths.root, on_progress)
    return {name: figures[name] for name in ("prompts", "answers", "mean_score", "kept")}


def name_of(output: Path) -> str:
    """Return the name of the stage, of which a workspace may have several."""
    return f"sample@{output.stem}"


def _by_prompt(log: Callable[[dict[str, Any]], None], draws: int) -> Callable[[int, int], None]:
    """Return a function that gets the numbers of answers so far and of all, and logs that of prompts."""
    return lambda done, total: None if done % draws else log({"step": done // draws, "total_steps": total // draws})


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: python -m tasks.stages sample MODEL DATASET OUTPUT")
    model, dataset, output = sys.argv[1:]
    main(name_of(Path(output)), partial(run, model=Path(model), dataset=dataset, output=Path(output)))
