"""Say why a stage would run: what changed since it last did.

martlet explain           every stage
martlet explain train     one of them
"""

import argparse
from pathlib import Path
from typing import Any

from components.config import load
from components.errors import ConfigError, did_you_mean
from components.files import read_json

PARAMETERS = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stage", nargs="?", help="the stage to explain; without it all are")


def run(arguments: argparse.Namespace, given: dict[str, Any]) -> None:
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
    """Which of the parts that its output is made of are others now, where the stage wrote them down."""
    from tasks.stages import fetch, reuse
    from tasks.stages.paths import Paths

    paths = Paths.here()
    if stage == "fetch":
        return fetch.changes(load(Path("params.yaml")), paths)
    written = paths.log(stage) / "made_of.json"
    if not written.is_file():
        return []
    recorded = read_json(written)
    try:
        now = reuse.STAGES[stage].made_of(load(Path("params.yaml")), paths)
    except OSError:  # its inputs are not there yet
        return []
    return [f"part changed: {name}{_change(recorded.get(name), value)}" for name, value in now.items()
            if recorded.get(name) != value]  # fmt: skip


def _change(before: Any, now: Any) -> str:
    """The values where a person can tell them apart; hashes are left out."""
    plain = all(isinstance(value, int | float | bool | None) or len(str(value)) < 40 for value in (before, now))
    return f" ({before} -> {now})" if plain and not isinstance(now, dict) else ""
