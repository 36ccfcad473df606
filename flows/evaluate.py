"""The evaluation as a Prefect flow: the models of the last run are asked and judged, and nothing is promoted."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import State

from flows.notify import HOOKS, require_block
from flows.run import errors_as_states, recorded, supervised, wait_for_all
from tasks import gate
from tasks.outcomes import ended
from tasks.plan import Pipeline, workspace_of
from tasks.reproduce import create_limits, submit
from tasks.workspace import in_place

STAGES = ("evaluate", "register")


@flow(name="evaluate", log_prints=True, **HOOKS)
@errors_as_states
def evaluate(notify: str | None = None) -> State[Any]:
    """Ask the models that the last run made what changed of the questions, register them, and judge the candidate.

    Args:
        notify: the notification block that is told the verdict, such as `custom-webhook/team`.
    """
    require_block(notify)
    workspace = workspace_of(Path.cwd())
    with (
        in_place(workspace, f"the flow run {flow_run.name}") as (paths, lock),
        recorded(paths) as watch,
        supervised(paths, lock) as supervisor,
    ):
        pipeline = Pipeline(workspace)
        steps = pipeline.plan()
        supervisor.finished.update(step.name for step in steps if step.name not in STAGES)
        last_steps = [step for step in steps if step.name in STAGES]
        create_limits(last_steps)
        wait_for_all(submit(last_steps, pipeline, supervisor, watch).values())
        verdict = gate.judge.submit(supervisor, watch)
        wait_for_all([verdict])
        return watch.end(ended("Passed", str(verdict.state.message)))
