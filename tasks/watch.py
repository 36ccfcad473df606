"""Events of a run, and the function that receives them: the terminal's table, or Prefect's log."""

from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Literal, NamedTuple

State = Literal[
    "waiting", "running", "asks", "reused", "restored", "ran", "refused", "failed", "stopped", "skipped"
]  # fmt: skip


class Event(NamedTuple):
    """A new state of a stage, of the gate, an approval or MLflow; `log` is the folder of a stage's `progress.jsonl`."""

    stage: str
    state: State
    text: str = ""
    seconds: float | None = None
    log: Path | None = None


def _print(event: Event) -> None:
    if event.state != "waiting":
        print(event_line(event))


def event_line(event: Event) -> str:
    """Return the event as one line of text."""
    seconds = "" if event.seconds is None else f"{event.seconds:.1f} s"
    return f"{event.stage:<18} {event.state:<9} {seconds:>8}  {event.text}".rstrip()


watching: ContextVar[Callable[[Event], None]] = ContextVar("watching", default=_print)
"""The receiver of events. By default each event is printed, and Prefect keeps the lines as the flow run's log."""
