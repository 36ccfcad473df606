"""Open the pages of Prefect (flows, logs, deployments) and of MLflow (runs, models).

martlet ui                    start what does not run yet, print both addresses
martlet ui --open             and open them in the browser

Prefect's server stays in the background, as after `martlet run`; MLflow's server of
this workspace ends with ctrl-C.
"""

import argparse
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

PARAMETERS = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--open", action="store_true", help="open the pages in the browser")
    parser.add_argument("--port", type=int, default=5000, help="port of MLflow's server [5000]")


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    import webbrowser

    from components.config import load
    from components.errors import without_credentials
    from flows.server import api_url, ensure
    from tasks.pages import mlflow_pages
    from tasks.plan import workspace_of

    workspace = workspace_of(Path.cwd())
    params = load(workspace / "params.yaml")
    url = os.environ["PREFECT_API_URL"] = api_url()
    ensure(url)
    pages = {"prefect": without_credentials(url.removesuffix("/api"))}
    with mlflow_pages(workspace, params.tracking.experiment_name, arguments.port) as (page, is_ours):
        pages["mlflow"] = page
        for name, address in pages.items():
            print(f"{name:<8} {address}", flush=True)
            if arguments.open:
                webbrowser.open(address)
        if is_ours:
            print("ctrl-C ends MLflow's server", flush=True)
        with suppress(KeyboardInterrupt):
            while is_ours:
                time.sleep(1)
