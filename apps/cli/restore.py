"""Put the runs and the registry of a backup back, after all of its checksums.

martlet restore monday.tar                in a workspace without runs
martlet restore monday.tar --overwrite    in place of the runs that are there

Models that the backup does not hold stay where they are. The workspace may be another
than the one that the backup is of.
"""

import argparse
from pathlib import Path
from typing import Any

PARAMETERS = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="tar file that `martlet backup` wrote")
    parser.add_argument("--overwrite", action="store_true", help="replace the runs and the registry of this workspace")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from tasks.backup import restore
    from tasks.plan import workspace_of

    count = restore(workspace_of(Path.cwd()), arguments.file, arguments.overwrite)
    print(f"restored {count} files; `martlet registry verify` compares models and journal")
