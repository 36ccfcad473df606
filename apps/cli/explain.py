"""Say why a stage would run: what changed since it last did.

martlet explain           every stage
martlet explain train     one of them
"""

import argparse
from pathlib import Path
from typing import Any

from components.errors import ConfigError, did_you_mean

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
            for reason in step.why:
                print(f"  {reason}")
