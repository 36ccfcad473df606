"""Make the previous champion champion again. A second rollback in a row goes back to the champion before.

martlet rollback                         the previous champion
martlet rollback --to 3 --why "…"        any former champion; its number or an alias
"""

import argparse
from pathlib import Path
from typing import Any

from apps.cli.promote import one_version
from components.config import Params, load, read_flags
from tasks.stages.paths import Paths

PARAMETERS = ("registry",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("versions", nargs="*", metavar="VERSION", help="former champion to return to: number or alias")
    parser.add_argument("--to", metavar="VERSION", help="as VERSION")
    parser.add_argument("--why", default="", metavar="TEXT", help="reason, written to the journal")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    params, paths = load(Path("params.yaml"), read_flags(flags)), Paths.here()
    roll_back(params, paths, one_version([*arguments.versions, arguments.to]), arguments.why)


def roll_back(params: Params, paths: Paths, to: str | None, why: str) -> None:
    """Make the previous champion, or version `to`, champion again, and print the journal."""
    from apps.cli.versions_view import show_journal
    from tasks import promotion, versions

    former = promotion.champion(params, paths)
    number = versions.number_of(to, params, paths) if to else None
    entry = promotion.rollback(params, paths, number, why)
    show_journal(promotion.journal(params, paths))
    forward = f"; `martlet promote --version {former.number}` judges version {former.number} anew" if former else ""
    print(f"champion is version {entry.version} again: `martlet deploy` serves it{forward}")
