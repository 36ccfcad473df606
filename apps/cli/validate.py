"""Check params.yaml and recipes: names, types, values, and that local files exist. Nothing is run.

martlet validate                      params.yaml in this folder
martlet validate recipes/x.yaml       the recipe on top of it
"""

import argparse
from pathlib import Path
from typing import Any

from components.config import LEAVES, difference, read_yaml, resolve
from components.errors import ConfigError
from tasks import preflight

PARAMETERS = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="*", type=Path, help="recipes to check, each on top of params.yaml")


def run(arguments: argparse.Namespace, given: dict[str, Any]) -> None:
    base = Path("params.yaml")
    below = [read_yaml(base)] if base.is_file() or not arguments.recipe else []
    problems: list[str] = []
    for recipe in arguments.recipe or [base]:
        try:
            params = resolve(*below, *([read_yaml(recipe)] if recipe != base else []))
            problems += [f"{recipe}: {problem}" for problem in preflight.problems(params)]
        except ConfigError as error:
            problems.append(str(error))
            continue
        changed = difference(params)
        print(f"{recipe}: {len(changed)} of {len(LEAVES)} parameters differ from the defaults")
        for name, (old, new) in changed.items():
            print(f"  {name:<34} {new!r:<40} default {old!r}")
    if problems:
        raise ConfigError("\n".join(problems))
