"""What happens in a run, for whoever watches: the terminal's table, or Prefect's log."""

from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Literal, NamedTuple

State = Literal["waiting", "running", "reused", "restored", "ran", "failed", "stopped"]


class Event(NamedTuple):
    """A stage, or the gate, entered a state. `log` is the folder of its `progress.jsonl` while it runs."""

    stage: str
    state: State
    text: str = ""
    seconds: float | None = None
    log: Path | None = None


def _print(event: Event) -> None:
    if event.state != "waiting":
        print(in_words(event))


def in_words(event: Event) -> str:
    """One line of text."""
    seconds = "" if event.seconds is None else f"{event.seconds:.1f} s"
    return f"{event.stage:<18} {event.state:<9} {seconds:>8}  {event.text}".rstrip()


watching: ContextVar[Callable[[Event], None]] = ContextVar("watching", default=_print)
"""Who is told. By default each event is printed, which Prefect keeps as the flow run's log."""
