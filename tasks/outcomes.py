"""The end of a stage, of the gate or of a whole flow: the word of the screen, and the state in Prefect."""

from typing import Any

from prefect.states import Cancelled, Completed, Failed, State

from components.errors import DataGateError, EvaluationGateError, InterruptedRunError, MartletError
from tasks import watch


def ended(name: str, message: str, result: Any = None) -> State[Any]:
    """Return a completed state named for what happened: `Ran`, `Reused`, `Restored`, `Promoted`."""
    return Completed(name=name, message=message, data=result or message)


def skipped(message: str) -> State[Any]:
    """Return the state of a stage that was not begun, because of another stage."""
    return Completed(name="Skipped", message=message, data=InterruptedRunError(message))


def word(error: MartletError) -> watch.State:
    """Return `stopped` for an interruption, `refused` for a gate that closed (it did its work), else `failed`."""
    if isinstance(error, InterruptedRunError):
        return "stopped"
    return "refused" if isinstance(error, (DataGateError, EvaluationGateError)) else "failed"


def state_of(error: MartletError) -> State[Any]:
    """Return the state `Failed`, `Stopped` or `Refused` of a task or flow that ended with `error`, its result.

    `Refused` is of Prefect's type COMPLETED: nothing is broken, so Prefect logs no traceback, and raises nothing.
    """
    make, name = {
        "failed": (Failed, "Failed"), "stopped": (Cancelled, "Stopped"), "refused": (Completed, "Refused")
    }[word(error)]  # fmt: skip
    return make(name=name, message=str(error), data=error)
