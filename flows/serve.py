"""Serving as a Prefect flow: `martlet deploy` follows the champion for as long as the flow runs."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import State

from components.config import load, read_mapping
from components.errors import ERRORS, MartletError
from flows.parameters import NO_OVERRIDES, Serving
from flows.run import errors_as_states, supervised
from tasks.plan import Wishes, workspace_of
from tasks.stages.paths import Paths
from tasks.workspace import changes_of

START_S = 60.0
"""A server that ends sooner is not started again: it cannot serve."""
STOP_S = 10.0
"""Seconds that a server has to end when the flow is cancelled."""


@flow(name="serve", log_prints=True, validate_parameters=False)
@errors_as_states
def serve(params: Serving = NO_OVERRIDES) -> State[Any]:
    """Serve the champion, and its successors in its place, until the flow is cancelled. A server that dies is started
    again.

    Args:
        params: parameters of serving over `params.yaml`, such as `{"serve": {"port": 8001}}`.
    """
    workspace = workspace_of(Path.cwd())
    layer = read_mapping(params, "the run's parameters")
    resolved = load(workspace / "params.yaml", layer)
    flags = [
        word for values in changes_of(resolved, [layer]).values() for item in values.items() for word in _flag(*item)
    ]
    paths = Paths(workspace, workspace)
    print(f"serving at {resolved.serve.host}:{resolved.serve.port}; the server's log: {paths.log('serve')}/output.log")
    with supervised(paths) as supervisor:
        while True:
            start = time.monotonic()
            command = [sys.executable, "-P", "-m", "apps.cli.main", "deploy", *flags]
            code = supervisor.run_command("serve", command, Wishes(grace=STOP_S))
            if time.monotonic() - start < START_S:
                raise ERRORS.get(code, MartletError)(_last_line(paths))
            print(f"the server ended with {code}, and is started again")


def _flag(name: str, value: Any) -> list[str]:
    """Return the words of a flag: `--port 8001`, `--stop_words a b`."""
    values = value if isinstance(value, list) else [value]
    return [f"--{name}", *(text if isinstance(text, str) else json.dumps(text) for text in values)]


def _last_line(paths: Paths) -> str:
    lines = (paths.log("serve") / "output.log").read_text(errors="replace").strip().splitlines()
    return f"serve: {lines[-1].removeprefix('martlet: ') if lines else 'the server ended without a message'}"
