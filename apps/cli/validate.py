"""Check params.yaml and recipes: names, types, values, and that local files exist.
No stage runs.

  martlet validate                      params.yaml in this folder
  martlet validate recipes/rank16.yaml  the recipe over params.yaml
"""

import argparse
from pathlib import Path
from typing import Any

from apps.cli.summaries import parameter_lines
from components.config import LEAVES, difference, read_yaml, resolve
from components.errors import ConfigError
from tasks import preflight

PARAMETERS = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="*", type=Path, help="recipes to check, each over params.yaml")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
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
        changes = difference(params)
        print(f"{recipe}: {len(changes)} of {len(LEAVES)} parameters differ from the defaults")
        print("\n".join(parameter_lines(changes)))
    if problems:
        raise ConfigError("\n".join(problems))
