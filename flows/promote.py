"""Make a registered candidate champion, if the gate opens."""

from pathlib import Path

from prefect import flow

from components.config import load
from flows.run import in_a_sentence
from tasks.plan import workspace_of
from tasks.stages.paths import Paths


@flow(name="promote", log_prints=True)
@in_a_sentence
def promote(number: int | None = None, force: bool = False, why: str = "") -> None:
    """Promote the candidate that was registered last, or version `number`; `force` overrules the gate."""
    from tasks import promotion

    workspace = workspace_of(Path.cwd())
    entry = promotion.promote(
        load(workspace / "params.yaml"), Paths(workspace, workspace), force=force, number=number, why=why
    )
    print(f"version {entry.version} is champion: {entry.why}" if entry else "it is the champion already")
