"""Make a former champion champion again."""

from pathlib import Path

from prefect import flow

from components.config import load
from flows.run import in_a_sentence
from tasks.plan import workspace_of
from tasks.stages.paths import Paths


@flow(name="rollback", log_prints=True)
@in_a_sentence
def rollback(to: int | None = None, why: str = "") -> None:
    """Return to the champion before this one, or to version `to`; `why` goes into the journal."""
    from tasks import promotion

    workspace = workspace_of(Path.cwd())
    entry = promotion.rollback(load(workspace / "params.yaml"), Paths(workspace, workspace), to, why)
    print(f"version {entry.version} is champion again")
