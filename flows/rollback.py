"""The rollback as a Prefect flow: a former champion becomes champion again."""

from pathlib import Path

from prefect import flow

from components.config import load
from flows.run import errors_as_states
from tasks.plan import workspace_of
from tasks.stages.paths import Paths


@flow(name="rollback", log_prints=True)
@errors_as_states
def rollback(to: int | None = None, why: str = "") -> None:
    """Make the previous champion, or version `to`, champion again; `why` goes into the journal."""
    from tasks import promotion

    workspace = workspace_of(Path.cwd())
    entry = promotion.rollback(load(workspace / "params.yaml"), Paths(workspace, workspace), to, why)
    print(f"version {entry.version} is champion again")
