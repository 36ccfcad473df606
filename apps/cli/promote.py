"""Make the newest candidate champion, if the evaluation gate opens.

martlet promote                          the merged model that was registered last
martlet promote --version 3              another version
martlet promote --force --why "…"        whatever the gate's verdict; the reason is written to the journal
"""

import argparse
from pathlib import Path
from typing import Any

from components.config import GROUPS, Params, load, read_flags
from components.config.groups.gate import OF_RUNS
from components.errors import ConfigError, EvaluationGateError
from components.registry import Entry
from tasks.stages.paths import Paths

PARAMETERS = ("registry", *(f"gate.{name}" for name in GROUPS["gate"].model_fields if name not in OF_RUNS))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--version", type=int, metavar="N", help="version to promote; by default the newest")
    parser.add_argument("--force", action="store_true", help="promote whatever the gate's verdict; needs --why")
    parser.add_argument("--why", default="", metavar="TEXT", help="reason, written to the journal")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    params, paths = load(Path("params.yaml"), read_flags(flags)), Paths.here()
    promote(params, paths, arguments.version, arguments.force, arguments.why)


def promote(params: Params, paths: Paths, version: int | None, force: bool, why: str) -> None:
    """Promote a version, or the newest candidate, and print the verdict and the journal."""
    if force and not why:
        raise ConfigError("--force needs --why TEXT, the reason for the journal")
    from tasks import promotion

    number = version or promotion.newest(params, paths).number
    champion = promotion.champion(params, paths)
    if champion and champion.number == number:
        show_journal(promotion.journal(params, paths))
        which = "" if version else ", the newest candidate,"
        print(f"nothing to do: version {number}{which} is champion already")
        return
    if not force:
        verdict = promotion.judge(params, paths, number)
        print(verdict)
        if not verdict.promote:
            raise EvaluationGateError("the gate stays closed; `martlet promote --force --why …` overrules it")
        print()
    entry = promotion.promote(params, paths, force, number, why)
    show_journal(promotion.journal(params, paths))
    if entry:
        print(f"champion is version {entry.version}; `martlet deploy` serves it, `martlet rollback` takes it back")


def show_journal(entries: list[Entry], last: int = 5) -> None:
    """Print the `last` entries of the journal."""
    print(f"journal ({len(entries)} in all):")
    for entry in entries[-last:]:
        before = "" if entry.previous is None else f" (previous: {entry.previous})"
        by = f"{entry.by}: {entry.why}" if entry.why else entry.by
        champion = "" if entry.action == "damaged" else f"champion: {entry.version or 'none'}{before}  "
        print(f"  {entry.time or f'line {entry.number}':<25}  {entry.action:<8}  {champion}{by}")
    print()
