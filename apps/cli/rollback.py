"""Make the champion before this one champion again. Twice in a row goes back two.

martlet rollback                         the previous champion
martlet rollback --to 3 --why "…"        a former champion by its number, also one that was rolled back from
"""

import argparse
from pathlib import Path
from typing import Any

from apps.cli.promote import show
from components.config import load, read_flags
from tasks.stages.paths import Paths

PARAMETERS = ("registry",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--to", type=int, metavar="N", help="the former champion to return to")
    parser.add_argument("--why", default="", metavar="TEXT", help="a reason, for the journal")


def run(arguments: argparse.Namespace, given: dict[str, Any]) -> int:
    from tasks import promotion

    params, paths = load(Path("params.yaml"), read_flags(given)), Paths.here()
    entry = promotion.rollback(params, paths, arguments.to, arguments.why)
    show(promotion.journal(params, paths))
    print(f"champion is version {entry.version} again; `martlet deploy` serves it, `martlet promote` judges anew")
    return 0
