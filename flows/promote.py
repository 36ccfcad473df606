"""The promotion as a Prefect flow: a registered candidate becomes champion if the gate opens."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import State

from components.config import load
from flows.run import errors_as_states
from tasks.outcomes import ended
from tasks.plan import workspace_of
from tasks.stages.paths import Paths


@flow(name="promote", log_prints=True)
@errors_as_states
def promote(number: int | None = None, force: bool = False, why: str = "") -> State[Any]:
    """Promote the candidate registered last, or version `number`; `force` overrules the gate, `why` goes into the
    journal."""
    from tasks import promotion

    workspace = workspace_of(Path.cwd())
    entry = promotion.promote(
        load(workspace / "params.yaml"), Paths(workspace, workspace), force=force, number=number, why=why
    )
    if entry is None:
        return ended("Unchanged", "the candidate is the champion already")
    return ended("Promoted", f"version {entry.version} is champion: {entry.why}")
