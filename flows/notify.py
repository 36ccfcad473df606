"""Notifications: a Prefect block of the user's is told how a flow ended; addresses and secrets stay in the block."""

from importlib import import_module
from typing import Any

from prefect import Flow
from prefect.blocks.abstract import NotificationBlock
from prefect.client.schemas.objects import FlowRun
from prefect.states import State

from components.errors import ConfigError

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


def tell(flow: Flow[..., Any], run: FlowRun, state: State[Any]) -> None:
    """Tell the block that the run's parameter `notify` names how the flow ended."""
    name = run.parameters.get("notify")
    if name and state.name not in NOT_NEWS:
        notify: Any = _load(name).notify
        notify(f"{run.name}: {state.message or state.name}", subject=f"Martlet {flow.name}: {state.name}")


HOOKS: dict[str, Any] = {f"on_{ending}": [tell] for ending in ("completion", "failure", "cancellation", "crashed")}
"""Hooks of a flow with the parameter `notify`."""
