"""Show what serves, who is champion, what ran last, what runs and what is queued.

martlet status

Servers that do not answer are named; the rest is shown all the same.
"""

import argparse
import os
from pathlib import Path
from typing import Any

PARAMETERS = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add no flags."""


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from components.config import load
    from components.errors import without_credentials
    from flows.server import answers, api_url
    from tasks import status
    from tasks.plan import workspace_of

    workspace = workspace_of(Path.cwd())
    params = load(workspace / "params.yaml")
    url = os.environ["PREFECT_API_URL"] = api_url()
    _show("last run", [status.last_run(workspace, Path(params.run.output_dir))])
    _show("at work", status.at_work(workspace) or ["nothing"])
    _show("serves", [status.served(params)])
    _show("champion", [status.champion(params, workspace)])
    _show("prefect", [without_credentials(line) for line in status.prefect_runs(url, answers)] or ["nothing is queued"])


def _show(subject: str, lines: list[str]) -> None:
    for number, line in enumerate(lines):
        print(f"{subject if number == 0 else '':<10} {line}", flush=True)
