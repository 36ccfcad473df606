"""The pipeline as a Prefect flow: the stages of `dvc.yaml`, then the gate, then the promotion."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import State

from components.config import load
from flows.approval import require_approval
from flows.notify import HOOKS, require_block
from flows.parameters import NO_OVERRIDES, Overrides
from flows.run import errors_as_states, run_folder, supervised, tracked, wait_for_all
from tasks import gate
from tasks.outcomes import ended
from tasks.plan import Pipeline, workspace_of
from tasks.reproduce import create_limits, submit
from tasks.stages.paths import Paths
from tasks.watch import Event, watching


@flow(name="finetune", log_prints=True, validate_parameters=False, **HOOKS)  # `run_folder` names every problem at once
@errors_as_states
def finetune(params: Overrides = NO_OVERRIDES, recipe: str | None = None, notify: str | None = None) -> State[Any]:
    """Run the stages that changed, judge the candidate, promote it.

    Args:
        params: parameters over `params.yaml` and the recipe, such as `{"lora": {"lora_rank": 16}}`.
        recipe: a YAML file with parameters, relative to the workspace.
        notify: the notification block that is told the outcome, such as `custom-webhook/team`.
    """
    require_block(notify)
    with run_folder(workspace_of(Path.cwd()), params, recipe) as (paths, lock):
        return run_pipeline(paths, lock)


def run_pipeline(paths: Paths, lock: int) -> State[Any]:
    """Run the stages of a run's folder that changed, judge the candidate, and promote it if `auto_promote` says so.

    Raises:
        MartletError: a stage failed, or a gate closed.
    """
    watch, params = watching.get(), load(paths.root / "params.yaml")
    pipeline = Pipeline(paths.root, paths.workspace)
    steps = pipeline.plan()
    for step in steps:
        watch(Event(step.name, "waiting", "; ".join(step.why)))
    if any(step.changed for step in steps):
        create_limits(steps)
    with tracked(params, paths, steps), supervised(paths, lock) as supervisor:
        supervisor.warm_up(steps)
        futures = submit(steps, pipeline, supervisor, watch)
        wait_for_all(futures.values())
        worked = [name for name, future in futures.items() if future.state.name != "Reused"]
        text = f"{', '.join(worked)} ran" if worked else "nothing changed"
        if gate.registration(paths).is_file():
            verdict = gate.judge.submit(supervisor, watch)
            wait_for_all([verdict])
            text += f"; gate: {verdict.state.message}"
            result: Any = verdict.result()
            if params.gate.auto_promote:
                approval = require_approval(result, params.gate, supervisor, watch)
                wait_for_all([gate.promote.submit(result, approval, supervisor, watch)])
    return ended("Ran" if worked else "Reused", text)
