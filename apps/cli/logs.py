"""Show how the last run ended, and the log of a stage: its progress, its output.

martlet logs                    how the last run ended, and the stage that ended it
martlet logs train              one stage
martlet logs train -f           and go on until the stage has ended
martlet logs --run RUN train    of a run in the work tree .runs/RUN
"""

import argparse
from pathlib import Path
from typing import Any

PARAMETERS = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("stage", nargs="?", help="stage, gate or promote; by default the one that ended the run")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the stage has ended")
    parser.add_argument("--run", help="name of a work tree below .runs; by default the workspace")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from tasks import logs
    from tasks.plan import workspace_of

    root = logs.root_of(workspace_of(Path.cwd()), arguments.run)
    for line in [] if arguments.stage else logs.ending(root):
        print(line)
    log = logs.folder_of(root, arguments.stage)
    logs.follow(root, log, lambda line: print(line, flush=True), arguments.follow)
