"""The pipeline as a Prefect flow: the stages of `dvc.yaml`, then the gate, then the promotion."""

from pathlib import Path
from typing import Any

from prefect import flow

from components.config import load
from flows.run import in_a_sentence, place, settle, supervised, tracked
from tasks import gate
from tasks.plan import Pipeline, workspace_of
from tasks.reproduce import create_limits, submit
from tasks.watch import Event, watching


@flow(name="finetune", log_prints=True)
@in_a_sentence
def finetune(params: dict[str, Any] | None = None, recipe: str | None = None) -> None:
    """Reproduce what has changed, judge the candidate, promote it.

    Args:
        params: parameters that differ from `params.yaml`, such as `{"tuner": {"lora_rank": 16}}`.
        recipe: a YAML file with more of them, from the workspace.
    """
    workspace, watch = workspace_of(Path.cwd()), watching.get()
    with place(workspace, params or {}, recipe) as (paths, lock):
        resolved = load(paths.root / "params.yaml")
        pipeline = Pipeline(paths.root, workspace)
        steps = pipeline.plan()
        for step in steps:
            watch(Event(step.name, "waiting", "; ".join(step.why)))
        if any(step.changed for step in steps):
            create_limits(steps)
        with tracked(resolved, paths, steps):
            with supervised(paths, lock) as supervisor:
                settle(submit(steps, pipeline, supervisor, watch).values())
            if not gate.registration(paths).is_file():
                return
            settle([gate.judge.submit(resolved, paths, watch)])
            if resolved.gate.auto_promote:
                settle([gate.promote.submit(resolved, paths, watch)])
