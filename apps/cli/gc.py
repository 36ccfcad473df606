"""Remove what nothing needs any more: work trees of failed and killed runs below .runs/, and run folders without a
checkpoint.

martlet gc                       show what would be removed
martlet gc --yes                 remove it
martlet gc --keep_runs 20        also the history of all but the newest 20 runs
martlet gc --older_than 30d      also the history of runs older than 30 days
martlet gc --dvc_cache           also results in DVC's cache that nothing names

Work trees of runs that go on stay, and so does every checkpoint. Results of earlier
runs that leave DVC's cache are made anew if they are needed again.
"""

import argparse
import re
from pathlib import Path
from typing import Any

from components.errors import ConfigError

PARAMETERS = ("run.output_dir",)
SECONDS = {"h": 3600.0, "d": 86400.0, "w": 604800.0}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="remove, instead of only showing")
    parser.add_argument("--keep_runs", type=int, metavar="N", help="keep the history of the newest N runs")
    parser.add_argument("--older_than", type=_age, metavar="AGE", help="remove the history of older runs: 12h, 30d, 8w")
    parser.add_argument("--dvc_cache", action="store_true", help="remove from DVC's cache what nothing names")


def _age(text: str) -> float:
    match = re.fullmatch(r"(\d+)([hdw])", text)
    if not match:
        raise ConfigError(f"--older_than {text}: write a number of hours, days or weeks: 12h, 30d, 8w")
    return int(match[1]) * SECONDS[match[2]]


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from components.config import read_flags, resolve
    from components.texts import count
    from tasks import leftovers

    if arguments.keep_runs is not None and arguments.keep_runs < 0:
        raise ConfigError("--keep_runs: 0 or more runs")
    workspace, output = Path.cwd(), Path(resolve(read_flags(flags)).run.output_dir)
    folders = leftovers.of_runs(workspace) + leftovers.of_output(output)
    folders += leftovers.of_history(workspace, arguments.keep_runs, arguments.older_than)
    word = "removed" if arguments.yes else "would remove"
    for leftover in folders:
        print(f"{word}  {leftover.folder}  ({leftover.reason})")
        if arguments.yes:
            leftovers.remove(leftover, workspace)
    if arguments.dvc_cache:
        files = leftovers.collect_cache(workspace, is_dry=not arguments.yes)
        print(f"{word}  {count(files, 'file')} of DVC's cache in {workspace / '.dvc/cache'}")
    elif not folders:
        print("nothing to remove")
        return
    if not arguments.yes:
        print("\n--yes removes this; a work tree that stays lets the same `martlet run` go on from its checkpoint")
