"""What a training would need, told without training: memory and disk from shapes, time from a few passes."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from components import training
from components.config import Params
from tasks.looking.folder import folder, report_kept
from tasks.looking.preview import Preview, preview
from tasks.stages import estimate, fetch, reuse, train
from tasks.stages.runner import Result
from tasks.stages.setup import set_up


class Forecast(NamedTuple):
    """The results of fetch, validate and template, the look at the tokens, the estimate in lines, and the seconds of
    the run, None where they cannot be told."""

    results: tuple[Result, Result, Result]
    look: Preview
    lines: list[str]
    seconds: float | None


def forecast(params: Params, output: Path, workspace: Path) -> Forecast:
    """Return what a training into the folder `output` would need; nothing is written there.

    Raises:
        ConfigError: the machine does not have it; the message says what would make it fit.
        DataGateError: the gate closed; its report is kept as .martlet/data.html.
    """
    with folder(params, workspace) as (params, paths):
        fetched = fetch.run(params, paths)
        with report_kept(paths):
            checked = reuse.run("validate", params, paths)
        results = (fetched, checked, reuse.run("template", params, paths))
        look = preview(params, paths)
        setup = set_up(params, replace(paths, checkpoints=output))
        rows = estimate.rows_of(setup)
        lines = estimate.require(setup.params, setup.paths, rows)
        if training.is_launched(setup.params):  # no processes are started to look
            return Forecast(results, look, lines, None)
        with estimate.advised(setup):
            seconds = training.seconds_of(train.job_of(replace(setup, checkpoints=paths.root / "run"), None))
    return Forecast(results, look, lines, seconds)
