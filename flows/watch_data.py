"""The watcher of the data as a Prefect flow: it tells Prefect when the data differs from what the last run fetched."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.events import emit_event
from prefect.states import State

from components.config import load
from flows.run import errors_as_states
from tasks import freshness
from tasks.claim import is_claimed
from tasks.outcomes import ended
from tasks.plan import workspace_of
from tasks.stages.paths import Paths

DATA_CHANGED = "martlet.data.changed"
"""The event; its resource is `martlet.workspace.` and the workspace's path."""


@flow(name="watch-data", log_prints=True)
@errors_as_states
def watch_data() -> State[Any]:
    """Emit the event `martlet.data.changed` if a dataset or a question set is new or has changed.

    Nothing is emitted while a run works in the workspace: it looks at the data itself.
    """
    workspace = workspace_of(Path.cwd())
    if is_claimed(workspace):
        return ended("Unchanged", "a run works in this workspace, and looks at the data itself")
    changes = freshness.changes(load(workspace / "params.yaml"), Paths(workspace, workspace))
    if not changes:
        return ended("Unchanged", "nothing changed")
    resource = {"prefect.resource.id": f"martlet.workspace.{workspace}", "prefect.resource.name": workspace.name}
    emit_event(DATA_CHANGED, resource, payload={"changes": changes})
    return ended("Changed", "; ".join(changes))
