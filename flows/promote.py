"""The promotion as a Prefect flow: a registered candidate becomes champion if the gate opens."""

from pathlib import Path

from prefect import flow

from components.config import load
from flows.run import errors_as_states
from tasks.plan import workspace_of
from tasks.stages.paths import Paths


@flow(name="promote", log_prints=True)
@errors_as_states
def promote(number: int | None = None, force: bool = False, why: str = "") -> None:
    """Promote the candidate registered last, or version `number`; `force` overrules the gate, `why` goes into the
    journal."""
    from tasks import promotion

    workspace = workspace_of(Path.cwd())
    entry = promotion.promote(
        load(workspace / "params.yaml"), Paths(workspace, workspace), force=force, number=number, why=why
    )
    print(f"version {entry.version} is champion: {entry.why}" if entry else "the candidate is the champion already")
