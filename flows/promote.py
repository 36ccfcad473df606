"""The promotion as a Prefect flow: a registered candidate becomes champion if the gate opens."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import State

from flows.run import errors_as_states, supervised
from tasks.outcomes import ended
from tasks.plan import workspace_of
from tasks.stages.paths import Paths


@flow(name="promote", log_prints=True)
@errors_as_states
def promote(number: int | None = None, force: bool = False, why: str = "") -> State[Any]:
    """Promote the newest candidate, or version `number`; `force` overrules the gate, `why` goes into the
    journal."""
    workspace = workspace_of(Path.cwd())
    with supervised(Paths(workspace, workspace)) as supervisor:
        result = supervisor.run_promotion("promote", force=force, number=number, why=why)
    return ended(result["outcome"], result["text"])
