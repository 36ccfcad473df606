"""The screen of `martlet run`: a live table of stages on a terminal, plain lines elsewhere."""

import json
import os
import threading
import time
from pathlib import Path
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from components.errors import without_credentials
from components.tracking import runs_page
from tasks.progress import describe
from tasks.watch import Event, event_line

_STYLES = {
    "waiting": "dim", "running": "bold cyan", "reused": "blue", "restored": "blue", "ran": "green",
    "asks": "bold yellow", "refused": "bold yellow", "skipped": "dim",
}  # fmt: skip
PLAIN_INTERVAL_S = 15.0
"""Time between two lines about a stage that runs, where there is no terminal."""


PAGES = {
    "gate": ("verdict", "reports/gate.html"),
    "evaluate": ("evaluation", "reports/eval.html"),
    "validate": ("data report", "reports/data.html"),
}
"""Pages of a run by the stage that writes them; the one that says why a run was refused comes first."""
NOT_YET = Event("", "waiting")
"""The event of a stage that no event has named."""


class Board:
    """The table of a run. The board is called with every event, and is a context manager around the run."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self._rows: dict[str, Event] = {}
        self._starts: dict[str, float] = {}
        self._guard = threading.Lock()
        self.root: Path | None = None
        self._live = Live(console=self.console, get_renderable=self._table, refresh_per_second=4)
        self._is_over = threading.Event()

    def __call__(self, event: Event) -> None:
        with self._guard:
            if event.state == "running":
                self._starts[event.stage] = time.monotonic()
            self._rows[event.stage] = event
            self.root = event.log.parents[1] if event.log else self.root
        if event.state == "asks" or (not self.console.is_terminal and event.state != "waiting"):
            self.say(event_line(event))  # not `print`: Prefect logs what a flow prints

    def say(self, text: str) -> None:
        """Print a line outside of the table."""
        self.console.print(text, markup=False, soft_wrap=True)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live.start()
        else:
            threading.Thread(target=self._tell_progress, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        if self.console.is_terminal:
            self._live.stop()

    def _tell_progress(self) -> None:
        while not self._is_over.wait(PLAIN_INTERVAL_S):
            with self._guard:
                running = [event for event in self._rows.values() if event.state == "running"]
            for event in running:  # whose reason stands in its first line
                self.say(event_line(self._at_work(event._replace(text=""))))

    def _at_work(self, event: Event) -> Event:
        """Return the event of a running stage with the time until now and the stage's own last line."""
        seconds = time.monotonic() - self._starts[event.stage]
        return event._replace(seconds=seconds, text=_progress(event.log) or event.text)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2), expand=True)
        with self._guard:
            rows = list(self._rows.values())
        widths = (max((len(event.stage) for event in rows), default=0), len("restored"), len("0000.0 s"))
        for width, justify in zip(widths, ("left", "left", "right"), strict=True):
            table.add_column(width=width, no_wrap=True, justify=justify)
        table.add_column(overflow="ellipsis", no_wrap=True, ratio=1)  # the rest of the line, however long the text
        for event in (self._at_work(event) if event.state == "running" else event for event in rows):
            time_text = "" if event.seconds is None else f"{event.seconds:.1f} s"
            style = _STYLES.get(event.state, "bold red")
            table.add_row(event.stage, Text(event.state, style), time_text, Text(" ".join(event.text.split()), "dim"))
        return table

    def show_links(self, workspace: Path, url: str, experiment: str) -> None:
        """Print where the reports of the run lie, the pages of MLflow and Prefect, and the next command; nothing for a
        run that did not begin."""
        if not self._rows:
            return
        root = self.root or workspace
        home = root if root.exists() else workspace / ".runs/history" / root.name
        if home != workspace:
            self.say(f"  {'kept in':<12} {os.path.relpath(home)}")
        for stage, (name, file) in PAGES.items():
            is_of_this_run = self._rows.get(stage, NOT_YET).state in ("ran", "restored", "reused", "refused")
            if is_of_this_run and (home / file).exists():
                self.say(f"  {name:<12} {os.path.relpath(home / file)}")
        if (workspace / "mlruns/mlflow.db").exists():
            command, page = runs_page(workspace, experiment)
            self.say(f"  {'runs':<12} {'`martlet ui` opens the pages' if command else page}")
        self.say(f"  {'flows':<12} {without_credentials(url.removesuffix('/api'))}")
        if self._rows.get("promote", NOT_YET).state in ("ran", "reused"):
            self.say("next: `martlet deploy` serves the champion")


def _progress(log: Path | None) -> str | None:
    """Return the last line of a stage's `progress.jsonl` but rollouts as text, or None where there is none."""
    try:
        lines = (log / "progress.jsonl").read_bytes().splitlines() if log else []
        entries = map(json.loads, reversed(lines))
        return next((describe(entry) for entry in entries if "rollouts" not in entry), None)
    except (OSError, ValueError):
        return None
