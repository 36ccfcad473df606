"""Write MLflow's runs, the registry with its journal and the history of runs to one file.

martlet backup monday.tar
martlet backup monday.tar --models    and the weights of all registered models

Runs may go on meanwhile. The file is complete or absent; `martlet restore` reads it.
"""

import argparse
from pathlib import Path
from typing import Any

PARAMETERS = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="tar file to write; an earlier one is replaced")
    parser.add_argument("--models", action="store_true", help="also the weights in mlruns/models")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from components.texts import size
    from tasks.backup import backup
    from tasks.plan import workspace_of

    count = backup(workspace_of(Path.cwd()), arguments.file, arguments.models)
    weights = "" if arguments.models else " without the weights of models"
    print(f"wrote {arguments.file}, {size(count)}{weights}; `martlet restore {arguments.file}` puts it back")
