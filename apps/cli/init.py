"""Make a workspace in a new folder: the pipeline, its parameters and examples, in a git repository with DVC.

martlet init support
martlet init --upgrade support    after a new version of Martlet was installed

In the workspace `martlet demo` shows the pipeline with a tiny model. A workspace
keeps the version of the code in martlet.json: a new one runs every stage anew.
"""

import argparse
import shlex
from pathlib import Path
from typing import Any

PARAMETERS = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, help="folder of the workspace, new or empty")
    parser.add_argument("--upgrade", action="store_true", help="take the installed version into an earlier workspace")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from components.errors import ConfigError
    from tasks.initialize import CODE_FILE, initialize, upgrade

    folder = arguments.folder
    if not arguments.upgrade:
        initialize(folder)
        print(f"made {folder}; next: `cd {shlex.quote(str(folder))}` and `martlet demo`; README.md there says the rest")
    elif not (folder / CODE_FILE).is_file():
        raise ConfigError(f"--upgrade: {folder} has no {CODE_FILE}; `martlet init` makes workspaces with one")
    else:
        print("every stage will run anew" if upgrade(folder) else "the workspace has this version already")
