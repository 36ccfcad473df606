"""Make the newest candidate champion, if the evaluation gate opens.

martlet promote                          the merged model that was registered last
martlet promote --version 3              another version; its number or an alias
martlet promote --force --why "…"        whatever the gate's verdict; the reason is written to the journal
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from components.config import GROUPS, Params, load, read_flags
from components.config.groups.gate import OF_RUNS
from components.errors import ConfigError, EvaluationGateError
from tasks.stages.paths import Paths

PARAMETERS = ("registry", *(f"gate.{name}" for name in GROUPS["gate"].model_fields if name not in OF_RUNS))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "versions", nargs="*", metavar="VERSION", help="number or alias; by default the newest candidate"
    )
    parser.add_argument("--version", metavar="VERSION", help="as VERSION")
    parser.add_argument("--force", action="store_true", help="promote whatever the gate's verdict; needs --why")
    parser.add_argument("--why", default="", metavar="TEXT", help="reason, written to the journal")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    params, paths = load(Path("params.yaml"), read_flags(flags)), Paths.here()
    promote(params, paths, one_version([*arguments.versions, arguments.version]), arguments.force, arguments.why)


def one_version(words: Iterable[str | None]) -> str | None:
    """Return the version that is named, or None where none is."""
    names = [word for word in words if word]
    if len(names) > 1:
        raise ConfigError(f"one VERSION, not {' and '.join(names)}")
    return names[0] if names else None


def promote(params: Params, paths: Paths, version: str | None, force: bool, why: str) -> None:
    """Promote a version, or the newest candidate, and print the verdict and the journal."""
    if force and not why:
        raise ConfigError("--force needs --why TEXT, the reason for the journal")
    from apps.cli.versions_view import show_journal
    from tasks import promotion, versions

    number = versions.number_of(version, params, paths) if version else promotion.newest(params, paths).number
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
