"""Explain why a stage would run: what changed since its last run.

martlet explain           every stage
martlet explain train     one stage
"""

import argparse
from pathlib import Path
from typing import Any

from components.config import load
from components.errors import ConfigError, did_you_mean
from components.files import read_json

PARAMETERS = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stage", nargs="?", help="stage to explain; by default all")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from tasks.plan import Pipeline, workspace_of

    steps = {step.name: step for step in Pipeline(workspace_of(Path.cwd())).plan()}
    if arguments.stage and arguments.stage not in steps:
        raise ConfigError(
            f"there is no stage '{arguments.stage}'{did_you_mean(arguments.stage, steps)}; there are {', '.join(steps)}"
        )
    for step in steps.values():
        if arguments.stage in (None, step.name):
            print(f"{step.name}: {'would run' if step.changed else 'nothing changed'}")
            for reason in [*step.why, *(_parts(step.name) if step.changed else [])]:
                print(f"  {reason}")


def _parts(stage: str) -> list[str]:
    """Return a line for each part of the stage's made_of.json that differs today; none for a stage without the file."""
    from tasks.stages import fetch, reuse
    from tasks.stages.paths import Paths

    paths = Paths.here()
    if stage == "fetch":
        return fetch.changes(load(Path("params.yaml")), paths)
    file = paths.log(stage) / "made_of.json"
    if not file.is_file():
        return []
    before = read_json(file)
    try:
        now = reuse.STAGES[stage].made_of(load(Path("params.yaml")), paths)
    except OSError:  # the stage's inputs do not exist yet
        return []
    return [f"part changed: {name}{_change(before.get(name), value)}" for name, value in now.items()
            if before.get(name) != value]  # fmt: skip


def _change(before: Any, now: Any) -> str:
    """Return ` (old -> new)`, or an empty string for values that nobody can read, such as hashes."""
    plain = all(isinstance(value, int | float | bool | None) or len(str(value)) < 40 for value in (before, now))
    return f" ({before} -> {now})" if plain and not isinstance(now, dict) else ""
