"""Run the pipeline of this workspace: the stages that changed, then the evaluation gate and the promotion.

martlet run                            in this workspace, with params.yaml
martlet run lora_rank=16               with other parameters, in a git worktree
martlet run recipes/x.yaml             with the parameters of a recipe, in a git worktree
martlet run --dry-run [...]            only print what would run, and why
"""

import argparse
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

from components.config import Layer, Params, difference, load, read_overrides, read_yaml
from components.errors import ConfigError, InterruptedRunError, MartletError
from tasks import preflight

PARAMETERS = ()
BASE = "models/base"
"""The tiny base model, which `make base` builds; git does not have it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("words", nargs="*", metavar="recipe.yaml | key=value", help="a recipe, and parameters over it")
    parser.add_argument("--dry_run", action="store_true", help="only print what would run, and why")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from tasks.plan import Pipeline, workspace_of
    from tasks.workspace import changes_of

    workspace = workspace_of(Path.cwd())
    recipe, layers = _layers(arguments.words)
    params = load(workspace / "params.yaml", *layers)
    if problems := preflight.problems(params, workspace):
        raise ConfigError("\n".join(problems))
    if arguments.dry_run:
        _dry_run(params, Pipeline(workspace).plan(changes_of(params, layers)))
    elif params.model.model == BASE and not (workspace / BASE).is_dir():
        raise ConfigError(f"model.model: there is no {BASE} yet; build it with `make base`, or name another model")
    else:
        _run(workspace, changes_of(params, layers[-1:]), str(recipe.resolve()) if recipe else None)


def _layers(words: Iterable[str]) -> tuple[Path | None, list[Layer]]:
    files = [word for word in words if "=" not in word]
    if len(files) > 1:
        raise ConfigError(f"one recipe at a time, not {' and '.join(files)}; parameters are written key=value")
    recipe = Path(files[0]) if files else None
    overrides = read_overrides(word for word in words if "=" in word)
    return recipe, [*([read_yaml(recipe)] if recipe else []), overrides]


def _dry_run(params: Params, steps: list[Any]) -> None:
    print("parameters that differ from the defaults:")
    for name, (old, new) in difference(params).items():
        print(f"  {name:<34} {new}  (default {old})")
    print("stages:")
    for step in steps:
        print(f"  {step.name:<18} {'would run' if step.changed else 'reused'}")
        for reason in step.why:
            print(f"    {reason}")


def _run(workspace: Path, changes: dict[str, dict[str, Any]], recipe: str | None) -> None:
    from apps.cli.board import Board
    from flows.server import api_url, ensure

    board = Board()
    url = os.environ["PREFECT_API_URL"] = api_url()
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")  # the board shows errors already
    background = ThreadPoolExecutor(2)
    server = background.submit(ensure, url, board.say)  # the server starts while the imports below run
    background.submit(import_module, "dvc.repo")
    from httpx import TransportError
    from prefect.exceptions import TerminationSignal
    from prefect.logging.handlers import APILogWorker

    from flows.finetune import finetune
    from tasks.watch import watching

    server.result()
    watching.set(board)
    try:
        with board:
            finetune(changes, recipe)
    except TransportError as error:
        raise MartletError(
            f"the Prefect server at {url} stopped answering ({error}); finished stages are kept: run again"
        ) from error
    except TerminationSignal as error:
        raise InterruptedRunError("stopped from outside; the same command goes on from where it stopped") from error
    finally:
        APILogWorker.drain_all(timeout=5)  # `main` ends with os._exit, without Prefect's own clean-up
        board.show_links(workspace, url)
