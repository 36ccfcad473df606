"""How the last run in a folder ended, and why: `logs/outcome.json`, which `martlet logs`, `status` and `runs` show."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import tracking
from components.files import read_json, write_json
from tasks.stages.paths import Paths
from tasks.watch import Event
from tasks.workspace import keep

if TYPE_CHECKING:
    from prefect.states import State

OUTCOME = "logs/outcome.json"
PAGES = {"validate": "reports/data.html", "gate": "reports/gate.html", "approval": "reports/gate.html"}
"""The page that says why a stage ended a run."""
WORK = ("ran", "restored", "refused", "failed", "stopped")
"""States of stages that had work."""


class Record:
    """A watcher of a run that passes each event on, and writes the outcome of the run at its end."""

    def __init__(self, paths: Paths, watch: Callable[[Event], None]) -> None:
        self.paths, self.watch, self.began = paths, watch, time.time()
        self._states: dict[str, str] = {}

    def __call__(self, event: Event) -> None:
        self._states[event.stage] = event.state
        if event.state == "running" and event.stage != "gate":  # the gate looks in every run
            (self.paths.root / OUTCOME).unlink(missing_ok=True)
        self.watch(event)

    def end(self, state: "State[Any]") -> "State[Any]":
        """Return the final state of a flow, after its outcome was written."""
        self.close(str(state.name).lower(), str(state.message))
        return state

    def close(self, outcome: str, message: str) -> None:
        """Write the outcome, such as `ran` or `refused`, and its reason; keep a run in the workspace in the history. A
        run that repeats what was known, also a refusal, is none."""
        has_work = any(state in WORK for state in self._states.values())
        if not has_work and outcome in ("reused", "passed", "refused"):
            return
        ends = (stage for stage, state in self._states.items() if state in ("failed", "refused", "stopped"))
        file = self.paths.root / OUTCOME
        stage = next(ends, "") if outcome in ("failed", "refused", "stopped") else ""
        entry = {"began": self.began, "ended": time.time(), "outcome": outcome, "stage": stage, "message": message}
        write_json(file, entry)
        if has_work and self.paths.root == self.paths.workspace:
            keep(self.paths.root, time.strftime("%Y%m%d-%H%M%S", time.localtime(self.began)))


def last(root: Path) -> dict[str, Any]:
    """Return the outcome of the last run in `root`, empty where it is not known: the run goes on, was killed, or was
    one of `dvc repro`."""
    outcome, run = read_object(root / OUTCOME), tracking.record(root)
    is_whole = outcome.keys() >= {"began", "ended", "outcome", "stage", "message"}
    return {} if not is_whole or (run and run["began"] > outcome["ended"]) else outcome


def page_of(stage: str, root: Path) -> str:
    """Return the page, relative to `root`, that says why a stage ended a run, or nothing."""
    page = PAGES.get(stage, "")
    return page if page and (root / page).is_file() else ""


def read_object(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file, empty for a file that is not there or is damaged."""
    try:
        content = read_json(file)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
