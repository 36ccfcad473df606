"""Retraining as a Prefect flow: the data as it is today, the pipeline, the same gate, and a report of the drift."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.runtime import flow_run
from prefect.states import State

from components.errors import DataGateError, EvaluationGateError
from flows.finetune import run_pipeline
from flows.notify import HOOKS, require_block
from flows.run import errors_as_states, recorded, supervised
from tasks import drift, freshness
from tasks.outcomes import ended
from tasks.plan import workspace_of
from tasks.stages.paths import Paths
from tasks.workspace import in_place


@flow(name="retrain", log_prints=True, **HOOKS)
@errors_as_states
def retrain(notify: str | None = None) -> State[Any]:
    """Fetch the data anew, run the stages that changed, judge the candidate, promote it.

    The flow works in the workspace itself, as `martlet run` does: what it fetches and trains is what the next one is
    compared with.

    Args:
        notify: the notification block that is told the outcome, such as `custom-webhook/team`.
    """
    require_block(notify)
    workspace = workspace_of(Path.cwd())
    with in_place(workspace, f"the flow run {flow_run.name}") as (paths, lock), recorded(paths) as record:
        report_drift(paths, lock, drift.is_promoted(paths))
        if commits := freshness.newer_commits(paths):
            print("; ".join(commits))
            freshness.forget_commits(paths)
        try:
            state = run_pipeline(paths, lock, record)
        except (DataGateError, EvaluationGateError) as error:
            raise type(error)(f"{error}{_in_a_word(report_drift(paths, lock, promoted=False))}") from error
        change = report_drift(paths, lock, drift.is_promoted(paths))
        return record.end(ended(str(state.name), f"{state.message}{_in_a_word(change)}"))


def _in_a_word(change: str | None) -> str:
    return f"; data drift: {change}" if change else ""


def report_drift(paths: Paths, lock: int, promoted: bool) -> str | None:
    """Write reports/drift.html unless it is on these rows already; return the size of the change, or None."""
    if drift.is_reported(paths, promoted):
        return None
    with supervised(paths, lock) as supervisor:
        return supervisor.run_program("tasks.drift", "drift", promoted=promoted)["change"]
