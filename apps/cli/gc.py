"""Remove what failed and killed runs left behind: their work trees below .runs/, and run folders without a checkpoint.

martlet gc          show what would be removed
martlet gc --yes    remove it

Work trees of runs that go on stay, and so do .runs/history and every checkpoint.
"""

import argparse
from pathlib import Path
from typing import Any

PARAMETERS = ("run.output_dir",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="remove, instead of only showing")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from components.config import read_flags, resolve
    from tasks import leftovers

    output = Path(resolve(read_flags(flags)).run.output_dir)
    folders = leftovers.of_runs(Path.cwd()) + leftovers.of_output(output)
    if not folders:
        print("nothing is left behind")
        return
    for leftover in folders:
        print(f"{'removed' if arguments.yes else 'would remove'}  {leftover.folder}  ({leftover.reason})")
        if arguments.yes:
            leftovers.remove(leftover, Path.cwd())
    if not arguments.yes:
        words = ["martlet gc --yes", *([f"--output_dir {output}"] if "output_dir" in flags else [])]
        print(f"\n`{' '.join(words)}` removes this; in a work tree, the same `martlet run` would go on instead")
