"""The rollback as a Prefect flow: a former champion becomes champion again."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import State

from flows.run import errors_as_states, supervised
from tasks.outcomes import ended
from tasks.plan import workspace_of
from tasks.stages.paths import Paths


@flow(name="rollback", log_prints=True)
@errors_as_states
def rollback(to: int | None = None, why: str = "") -> State[Any]:
    """Make the previous champion, or version `to`, champion again; `why` goes into the journal."""
    workspace = workspace_of(Path.cwd())
    with supervised(Paths(workspace, workspace)) as supervisor:
        return ended("Rolled back", supervisor.run_promotion("rollback", to=to, why=why)["text"])
