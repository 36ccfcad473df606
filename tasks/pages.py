"""MLflow's pages on the store of a workspace, from a server of this machine."""

import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

from components import leash
from components.config.groups.tracking import tracking_uri
from components.errors import MartletError
from components.inference import bind
from components.tracking import runs_page

START_TIMEOUT_S = 180.0
"""Seconds until MLflow's server must answer; its first start makes the database."""
STOP_S = 5.0


@contextmanager
def mlflow_pages(workspace: Path, experiment: str, port: int) -> Generator[tuple[str, bool]]:
    """Yield the address of MLflow's list of runs, and whether the server was started here, for as long as the block
    lasts: not where MLFLOW_TRACKING_URI names a server.

    Raises:
        ConfigError: the port is taken; the message names it.
        MartletError: MLflow's server does not start.
    """
    command, page = runs_page(workspace, experiment)
    if command is None:
        yield page, False
        return
    bind("127.0.0.1", port, None).close()
    (workspace / "mlruns").mkdir(exist_ok=True)
    log = workspace / "logs/mlflow/output.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-P", "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    words += ["--workers", "1", "--backend-store-uri", tracking_uri(workspace)]
    with log.open("wb") as output:
        server = leash.start(words, STOP_S, cwd=workspace, stdout=output, stderr=output)
        try:
            _wait(f"http://127.0.0.1:{port}/health", server, log)
            yield page.replace(":5000", f":{port}"), True
        finally:
            leash.end(server)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        try:
            if httpx.get(url, timeout=1, trust_env=False).is_success:
                return
        except httpx.HTTPError:
            pass
        if server.poll() is not None or time.monotonic() > deadline:
            raise MartletError(f"MLflow's server did not start; see {log}")
        time.sleep(0.2)
