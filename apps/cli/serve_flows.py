"""Serve the deployments of prefect.yaml until ctrl-C. Runs are started from Prefect's pages, by the schedules and
triggers in prefect.yaml or, in another terminal in the workspace, by

prefect deployment run finetune/local -p 'params={"lora": {"lora_rank": 16}}'

A run of finetune works in its own git worktree, a run of retrain in the workspace.
"""

import argparse
import os
from pathlib import Path
from typing import Any

from components.errors import without_credentials

PARAMETERS = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=int, default=16, help="runs of all flows at the same time, at most [16]")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from flows.server import api_url, ensure
    from tasks.plan import workspace_of

    workspace = workspace_of(Path.cwd())
    os.chdir(workspace)
    url = os.environ["PREFECT_API_URL"] = api_url()
    ensure(url)
    shown = without_credentials(url)
    print(f"runs are started at {shown.removesuffix('/api')}, or by `PREFECT_API_URL={shown} prefect deployment run …`")
    from prefect import serve

    from flows.deployments import declared

    serve(*declared(workspace), limit=arguments.limit)
