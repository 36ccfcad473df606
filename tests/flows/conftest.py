"""One real Prefect server for the session, started the way a newcomer's first `martlet run` starts it."""

import http.server
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tasks.watch import Event, watching
from tests.flows.toy import gone, ran_once, until, workspace

__all__ = ["ran_once", "workspace"]


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """Where it is, and what was said while it was started."""

    def __init__(self, home: Path, url: str) -> None:
        self.home, self.url, self.said = home, url, list[str]()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Generator[Server]:
    """Must be the first to import Prefect, which reads its settings then."""
    from flows.server import ensure

    home = tmp_path_factory.mktemp("prefect")
    server = Server(home, f"http://127.0.0.1:{free_port()}/api")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PREFECT_HOME", str(home))
        environment.setenv("PREFECT_API_URL", server.url)
        environment.setenv("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
        ensure(server.url, server.said.append)
        pid = int((home / "server.pid").read_text())
        try:
            yield server
            if "prefect" in sys.modules:  # what it has still to tell would be told in vain, for a minute
                from prefect.events.worker import EventsWorker
                from prefect.logging.handlers import APILogWorker

                APILogWorker.drain_all(timeout=5)
                EventsWorker.drain_all(timeout=5)
        finally:
            os.kill(pid, signal.SIGTERM)
            until(lambda: gone(pid), 20)


@pytest.fixture(scope="module", autouse=True)
def forks_end_well() -> Generator[None]:
    """Prefect's services (3.8) let every process that is forked beside them exit with code 1."""
    yield
    calls: list[Any] = threading._threading_atexits  # pyright: ignore[reportAttributeAccessIssue]
    calls[:] = [call for call in calls if not call.func.__module__.startswith("prefect.")]


@pytest.fixture
def events(server: Server) -> Generator[list[Event]]:
    """What the flows of this test tell their watcher."""
    seen: list[Event] = []
    token = watching.set(seen.append)
    yield seen
    watching.reset(token)


@pytest.fixture(scope="module")
def hook() -> Generator[tuple[str, list[dict[str, Any]]]]:
    """A server that keeps what is posted to it, and its address."""
    posted: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            posted.append({"path": self.path, **body})
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listener.server_port}", posted
    listener.shutdown()
