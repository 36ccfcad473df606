"""The registry on a real MLflow server behind basic auth: a small proxy that checks the name and the password."""

import base64
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from components.errors import MartletError
from components.registry import champion, history, promote, rollback, verify, versions
from tests.components.registry.conftest import some

LOGIN = "Basic " + base64.b64encode(b"ada:sesame").decode()


class Proxy(ThreadingHTTPServer):
    """Forwards to an MLflow server what has the right password. `left` is the number of writes until it goes away."""

    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream, self.left = upstream, -1


class Handler(BaseHTTPRequestHandler):
    server: Proxy  # pyright: ignore[reportIncompatibleVariableOverride]

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("authorization") != LOGIN:
            self.answer(401, b"You are not authenticated.")
            return
        is_write = "alias" in self.path or "set-tag" in self.path
        if is_write and self.server.left == 0:
            self.close_connection = True  # gone in the middle of a request
            return
        self.server.left -= is_write
        request = urllib.request.Request(self.server.upstream + self.path, body or None, method=self.command)
        request.add_header("content-type", self.headers.get("content-type") or "application/json")
        try:
            with urllib.request.urlopen(request) as reply:
                self.answer(reply.status, reply.read())
        except urllib.error.HTTPError as error:
            self.answer(error.code, error.read())

    def answer(self, status: int, content: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PATCH = do_DELETE = forward  # noqa: N815 - names of http.server

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def mlflow_server(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store / "mlruns/mlflow.db", folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    words += ["--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", str(folder)]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "mlflow", *words], stdout=log, stderr=log)
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 120
    try:
        while True:
            try:
                urllib.request.urlopen(f"{url}/health", timeout=2)
                break
            except OSError:
                assert time.monotonic() < deadline and process.poll() is None, (folder / "log").read_text()
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def proxy(mlflow_server: str, monkeypatch: pytest.MonkeyPatch) -> Generator[Proxy]:
    proxy = Proxy(mlflow_server)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{proxy.server_port}")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "sesame")
    yield proxy
    proxy.shutdown()
    proxy.server_close()


def champion_number(name: str, workspace: Path) -> int | None:
    now = champion(name, workspace)
    return now and now.number


def test_the_registry_of_a_server_is_that_of_the_workspace(proxy: Proxy, name: str, tmp_path: Path) -> None:
    some(name, tmp_path, tmp_path / "weights", 3)
    promote(name, 1, tmp_path, "first", over=None)
    promote(name, 2, tmp_path, "second", over=1)
    assert rollback(name, tmp_path).version == champion_number(name, tmp_path) == 1
    assert [version.aliases for version in versions(name, tmp_path)] == [("champion",), (), ()]
    assert all(version.size for version in versions(name, tmp_path))
    assert verify(name, tmp_path) == []
    assert not (tmp_path / "mlruns/mlflow.db").exists()


def test_wrong_credentials_are_a_sentence_without_the_password(
    proxy: Proxy, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "guess")
    with pytest.raises(MartletError, match="MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD") as caught:
        champion(name, tmp_path)
    assert "guess" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(("writes", "after"), [(0, 1), (1, 2), (3, 2)])
def test_a_server_that_goes_away_in_mid_promotion_is_a_sentence_and_the_next_command_finishes(
    proxy: Proxy, name: str, tmp_path: Path, writes: int, after: int
) -> None:
    some(name, tmp_path, tmp_path / "weights", 2)
    promote(name, 1, tmp_path, "first", over=None)
    proxy.left = writes
    with pytest.raises(MartletError, match="does not answer"):
        promote(name, 2, tmp_path, "second", over=1)
    proxy.left = -1
    assert champion_number(name, tmp_path) == after
    assert [entry.version for entry in history(name, tmp_path)] == [1, 2][:after]
    assert verify(name, tmp_path) == []
