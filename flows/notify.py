"""Notifications: a Prefect block of the user's is told how a flow ended; addresses and secrets stay in the block."""

from importlib import import_module
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.blocks.abstract import NotificationBlock
from prefect.client.schemas.objects import FlowRun
from prefect.states import State
from prefect.utilities.urls import url_for

from components.errors import ConfigError
from tasks import record
from tasks.plan import workspace_of
from tasks.workspace import HISTORY, RUNS, folder_in

NOT_NEWS = ("Reused", "Unchanged", "Cancelling")
"""States that nobody is told of: nothing happened, or it is still happening."""


def require_block(name: str | None) -> None:
    """Check, before a run begins, that the notification block `TYPE/NAME` exists; None names none.

    Raises:
        ConfigError: there is no such block, or it is of another kind.
    """
    if name:
        _load(name)


def _load(name: str) -> NotificationBlock:
    import_module("prefect.blocks.notifications")  # makes the types of blocks known
    from prefect.blocks.core import Block

    try:
        block: Any = Block.load(name)
    except ValueError as error:
        raise ConfigError(
            f"notify: no block '{name}' on the Prefect server; write TYPE/NAME, such as custom-webhook/team "
            "(`prefect block ls` lists them)"
        ) from error
    if not isinstance(block, NotificationBlock):
        raise ConfigError(f"notify: the block '{name}' cannot notify; name one of Prefect's notification blocks")
    return block


def send(block: str, run: str, subject: str, *lines: str) -> None:
    """Tell a block the lines, and below them the workspace and the page of the flow run with the id `run`."""
    notify: Any = _load(block).notify
    places = (f"workspace: {workspace_of(Path.cwd())}", f"flow run: {page_of_run(run)}")
    notify("\n".join([*lines, *places]), subject=subject)


def page_of_run(run: str) -> str:
    """Return the address of a flow run's page in Prefect."""
    return str(url_for("flow-run", obj_id=run))


def tell(flow: Flow[..., Any], run: FlowRun, state: State[Any]) -> None:
    """Tell the block that the run's parameter `notify` names how the flow ended, and the page about that."""
    name = run.parameters.get("notify")
    if name and state.name not in NOT_NEWS:
        page = _page(run.name, state)
        lines = (f"{run.name}: {state.message or state.name}", *([f"page: {page}"] if page else []))
        send(name, str(run.id), f"Martlet {flow.name}: {state.name}", *lines)


def _page(run: str, state: State[Any]) -> Path | None:
    """Return the file that says why a run ended so: the data report of a run that the data gate refused, the verdict of
    one that was judged."""
    workspace = workspace_of(Path.cwd())
    places = (workspace / HISTORY / run, folder_in(workspace / RUNS / run, workspace))
    root = next((place for place in places if place.is_dir()), workspace)
    outcome = record.last(root)
    if outcome.get("message") == state.message:
        page = record.page_of(outcome["stage"] or "gate", root)
    else:
        page = "" if state.name == "Failed" else record.page_of("gate", root)
    return root / page if page else None


HOOKS: dict[str, Any] = {f"on_{ending}": [tell] for ending in ("completion", "failure", "cancellation", "crashed")}
"""Hooks of a flow with the parameter `notify`."""
