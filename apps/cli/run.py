"""Run the pipeline of this workspace: the stages that changed, then the gate and
the promotion.

  martlet run                      in this workspace, with params.yaml
  martlet run lora_rank=16         with another parameter, in a git worktree
  martlet run --lora_rank 16       the same
  martlet run recipes/rank16.yaml  with a recipe's parameters, in a git worktree
  martlet run --dry_run seed=7     only print what would run, and why
"""

import argparse
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

from apps.cli.summaries import parameter_lines
from components.config import GROUPS, Layer, Params, difference, load, read_flags, read_yaml
from components.config.groups.method import NOT_JUDGED, TASKS
from components.errors import ConfigError, InterruptedRunError, MartletError
from tasks import preflight

PARAMETERS = (
    *(group for group in GROUPS if group not in ("generation", "sample", "serve", "run", "export")),
    "generation.infer_backend", "run.dataset_num_proc",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", nargs="*", type=Path, metavar="recipe.yaml", help="parameters over params.yaml")
    parser.add_argument("--dry_run", action="store_true", help="only print what would run, and why")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from tasks.plan import Pipeline, workspace_of
    from tasks.workspace import changes_of

    workspace = workspace_of(Path.cwd())
    if len(arguments.recipe) > 1:
        raise ConfigError(f"one recipe at a time, not {' and '.join(map(str, arguments.recipe))}")
    recipe, own = next(iter(arguments.recipe), None), read_flags(flags)
    layers = [*([read_yaml(recipe)] if recipe else []), own]
    params = load(workspace / "params.yaml", *layers)
    if params.method.task_type in TASKS:
        raise ConfigError(NOT_JUDGED)
    if problems := preflight.problems(params, workspace, own.values):
        raise ConfigError("\n".join(problems))
    if arguments.dry_run:
        _dry_run(params, own, Pipeline(workspace).plan(changes_of(params, layers)))
    else:
        changes = changes_of(params, [own])
        _run(workspace, changes, str(recipe.resolve()) if recipe else None, params.tracking.experiment_name)


def _dry_run(params: Params, own: Layer, steps: list[Any]) -> None:
    print("parameters that differ from the defaults; * marks those of this command line:")
    print("\n".join(parameter_lines(difference(params), own.values)))
    print("stages:")
    for step in steps:
        print(f"  {step.name:<18} {'would run' if step.changed else 'reused'}")
        for reason in step.why:
            print(f"    {reason}")


def _run(workspace: Path, changes: dict[str, dict[str, Any]], recipe: str | None, experiment: str) -> None:
    from apps.cli.board import Board
    from flows.server import api_url, ensure

    board = Board()
    url = os.environ["PREFECT_API_URL"] = api_url()
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")  # the board shows errors already
    background = ThreadPoolExecutor(2)
    server = background.submit(ensure, url, board.say)  # the server starts while the imports below run
    background.submit(import_module, "dvc.repo")
    # Prefect ends a flow on SIGTERM, and then sends the signal again, to this handler.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    from httpx import TransportError
    from prefect.exceptions import TerminationSignal
    from prefect.logging.handlers import APILogWorker

    from flows.finetune import finetune
    from tasks.watch import watching

    server.result()
    watching.set(board)
    try:
        with board:
            result = finetune(changes, recipe)
        if isinstance(result, MartletError):
            raise result
    except TransportError as error:
        raise MartletError(
            f"the Prefect server at {url} stopped answering ({error}); finished stages are kept: run again"
        ) from error
    except (TerminationSignal, KeyboardInterrupt) as error:
        raise InterruptedRunError("stopped; the same command goes on from where it stopped") from error
    finally:
        APILogWorker.drain_all(timeout=5)  # `main` ends with os._exit, without Prefect's own clean-up
        board.show_links(workspace, url, experiment)
