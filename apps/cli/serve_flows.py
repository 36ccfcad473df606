"""Serve the flows of this workspace as Prefect deployments until ctrl-C. Runs are started from Prefect's pages or, in
another terminal in the workspace, by

prefect deployment run finetune/local -p 'params={"lora": {"lora_rank": 16}}'

Every run works in its own git worktree.
"""

import argparse
import os
from pathlib import Path
from typing import Any

from components.errors import without_credentials

PARAMETERS = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--limit", type=int, default=1, help="runs at the same time, at most [1]")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from flows.server import api_url, ensure
    from tasks.plan import workspace_of

    os.chdir(workspace_of(Path.cwd()))
    url = os.environ["PREFECT_API_URL"] = api_url()
    ensure(url)
    shown = without_credentials(url)
    print(f"runs are started at {shown.removesuffix('/api')}, or by `PREFECT_API_URL={shown} prefect deployment run …`")
    from prefect import serve
    from prefect.deployments.runner import EntrypointType

    from flows.finetune import finetune
    from flows.promote import promote
    from flows.rollback import rollback

    by_name = EntrypointType.MODULE_PATH  # works in any workspace, not only in a checkout
    deployments = [flow.to_deployment("local", entrypoint_type=by_name) for flow in (finetune, promote, rollback)]
    serve(*deployments, limit=arguments.limit)  # type: ignore[arg-type]
