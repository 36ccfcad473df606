"""`python -m components.tracking ROOT [--workspace W]`: keep MLflow up to date with the run below ROOT."""

import argparse
import signal
from pathlib import Path

from components.tracking.sidecar import follow_run

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m components.tracking", description=__doc__)
    parser.add_argument("root", type=Path, help="the workspace, work tree or run folder whose logs/ is followed")
    parser.add_argument("--workspace", type=Path, help="the folder that holds mlruns/; by default ROOT")
    arguments = parser.parse_args()
    # Ctrl-C is for the run's owner; the sidecar then sees the end of the run and records it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    follow_run(arguments.root, arguments.workspace or arguments.root)
