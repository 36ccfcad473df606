"""Look at model versions and at the journal of champions, move the champion, and
check and clear the registry.

  martlet registry list             versions: aliases, variant, date, scores, size
  martlet registry show champion    lineage, verdict, scores and files of one
  martlet registry diff 3 champion  what differs: lineage, parameters, scores
  martlet registry history          every move of the champion: who, when, why
  martlet registry promote 3        as `martlet promote 3`
  martlet registry rollback         as `martlet rollback`
  martlet registry verify           compare journal, aliases and weights; ends
                                    with 1 if something is wrong
  martlet registry gc --keep 5      show old versions; --yes removes them

A version is named by its number, or by an alias: champion, previous, challenger.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from apps.cli import promote, rollback
from components.config import Params, load, read_flags
from components.errors import ConfigError
from components.texts import count, size
from tasks.stages.paths import Paths

PARAMETERS = promote.PARAMETERS
DEFAULT_KEEP = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=list(ACTIONS))
    parser.add_argument("versions", nargs="*", metavar="VERSION", help="number or alias: 3, champion")
    parser.add_argument("--json", action="store_true", help="list, show, diff, history, verify: print JSON")
    parser.add_argument("--version", metavar="VERSION", help="as VERSION")
    parser.add_argument("--to", metavar="VERSION", help="as VERSION")
    parser.add_argument("--why", default="", metavar="TEXT", help="promote, rollback: reason for the journal")
    parser.add_argument("--force", action="store_true", help="promote: whatever the gate's verdict; needs --why")
    parser.add_argument(
        "--keep", type=int, default=DEFAULT_KEEP, metavar="N", help=f"gc: newest of each variant kept [{DEFAULT_KEEP}]"
    )
    parser.add_argument("--yes", action="store_true", help="gc: remove, instead of only showing")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> int:
    action, fewest, most = ACTIONS[arguments.action]
    arguments.versions += filter(None, (arguments.version, arguments.to))
    if not fewest <= len(arguments.versions) <= most:
        versions = {0: "no VERSION", 1: "one VERSION", 2: "two VERSIONs"}[most]
        raise ConfigError(f"martlet registry {arguments.action} takes {versions}; `martlet registry --help` shows how")
    return action(arguments, load(Path("params.yaml"), read_flags(flags)), Paths.here()) or 0


def _list(arguments: argparse.Namespace, params: Params, paths: Paths) -> None:
    from apps.cli import versions_view
    from tasks import versions

    listings = versions.listed(params, paths)
    if arguments.json:
        _print_json([versions.summary(listing) for listing in listings])
    elif listings:
        versions_view.show_list(listings)
    else:
        print(f"{params.registry.registered_model_name} has no version yet; `martlet run` registers one")


def _show(arguments: argparse.Namespace, params: Params, paths: Paths) -> None:
    from apps.cli import versions_view
    from tasks import versions

    facts = versions.facts(arguments.versions[0], params, paths)
    if arguments.json:
        _print_json(facts)
    else:
        versions_view.show_facts(facts)


def _diff(arguments: argparse.Namespace, params: Params, paths: Paths) -> None:
    from apps.cli import versions_view
    from tasks import versions

    first, second = (versions.facts(word, params, paths) for word in arguments.versions)
    rows = versions.differences(first, second)
    if arguments.json:
        _print_json([row._asdict() for row in rows])
    else:
        versions_view.show_differences(first, second, rows)


def _history(arguments: argparse.Namespace, params: Params, paths: Paths) -> None:
    from apps.cli import versions_view
    from tasks import promotion

    entries = promotion.journal(params, paths)
    if arguments.json:
        _print_json([asdict(entry) for entry in entries])
    elif entries:
        versions_view.show_history(entries)
    else:
        print(f"{params.registry.registered_model_name} has had no champion yet")


def _promote(arguments: argparse.Namespace, params: Params, paths: Paths) -> None:
    promote.promote(params, paths, promote.one_version(arguments.versions), arguments.force, arguments.why)


def _rollback(arguments: argparse.Namespace, params: Params, paths: Paths) -> None:
    rollback.roll_back(params, paths, promote.one_version(arguments.versions), arguments.why)


def _verify(arguments: argparse.Namespace, params: Params, paths: Paths) -> int:
    from tasks import versions

    check = versions.verified(params, paths)
    if arguments.json:
        _print_json(check._asdict())
        return 1 if check.faults else 0
    for fault in check.faults:
        print(f"fault  {fault}")
    for line in check.without_chain:
        print(f"note   journal, line {line}: has no chain: an older Martlet wrote it")
    outcome = count(len(check.faults), "fault") if check.faults else f"all is well; chain {check.chain[:16]}"
    print(f"{count(check.lines, 'line')} of journal, {count(check.versions, 'version')}: {outcome}")
    return 1 if check.faults else 0


def _gc(arguments: argparse.Namespace, params: Params, paths: Paths) -> None:
    from apps.cli import versions_view
    from tasks import versions

    listings = versions.removable(arguments.keep, params, paths)
    if not listings:
        print("nothing to remove: every version is among the newest, has an alias or was champion")
        return
    versions_view.show_list(listings)
    what = f"{count(len(listings), 'version')}, {size(versions.freed_bytes(listings, paths))} on the disk"
    if arguments.yes:
        versions.remove(arguments.keep, params, paths)
        print(f"\nremoved {what}")
    else:
        print(f"\nwould remove {what}; `martlet registry gc --keep {arguments.keep} --yes` does")


def _print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False, indent=2))


ACTIONS: dict[str, tuple[Callable[[argparse.Namespace, Params, Paths], int | None], int, int]] = {
    "list": (_list, 0, 0),
    "show": (_show, 1, 1),
    "diff": (_diff, 2, 2),
    "history": (_history, 0, 0),
    "promote": (_promote, 0, 1),
    "rollback": (_rollback, 0, 1),
    "verify": (_verify, 0, 0),
    "gc": (_gc, 0, 0),
}
"""Actions, each with the fewest and the most versions that it takes."""
