import http.server
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from apps.cli.parser import parser_of
from components.config import parse
from components.errors import ConfigError
from flows.server import api_url, ensure
from tests.flows.conftest import Server

ROOT = Path(__file__).parents[2]


def test_it_is_started_once_and_said_so(server: Server) -> None:
    assert len(server.said) == 1
    assert server.url.removesuffix("/api") in server.said[0]
    assert "prefect server stop" in server.said[0]
    ensure(server.url, server.said.append)
    assert len(server.said) == 1


def test_a_port_that_another_program_has_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    other = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    port = other.server_port
    with pytest.raises(ConfigError, match=rf"port {port} is taken.*PREFECT_SERVER_API_PORT={port + 1}"):
        ensure(f"http://127.0.0.1:{port}/api")
    other.shutdown()
    assert not (tmp_path / "server.pid").exists()


def test_a_server_elsewhere_is_not_replaced_by_one_here() -> None:
    with pytest.raises(ConfigError, match=r"prefect\.invalid.*does not answer.*PREFECT_API_URL"):
        ensure("http://prefect.invalid/api")


def test_the_address_comes_from_the_environment_the_profile_or_the_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_SERVER_API_PORT", "PREFECT_PROFILES_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert api_url() == "http://127.0.0.1:4200/api"
    (tmp_path / "profiles.toml").write_text(
        'active = "team"\n[profiles.team]\nPREFECT_API_URL = "http://team/api"\n[profiles.local]\n'
    )
    assert api_url() == "http://team/api"
    (tmp_path / "prefect.toml").write_text('[api]\nurl = "http://folder/api"\n')
    assert api_url() == "http://folder/api"
    (tmp_path / "prefect.toml").unlink()
    monkeypatch.setenv("PREFECT_PROFILE", "local")
    assert api_url() == "http://127.0.0.1:4200/api"
    monkeypatch.setenv("PREFECT_SERVER_API_PORT", "4321")
    assert api_url() == "http://127.0.0.1:4321/api"
    monkeypatch.setenv("PREFECT_API_URL", "http://mine/api")
    assert api_url() == "http://mine/api"


def test_a_server_that_somebody_started_and_left_is_waited_for(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    with (
        closing(sqlite3.connect(server.home / "prefect.db")) as made,
        closing(sqlite3.connect(tmp_path / "prefect.db")) as copy,
    ):
        made.backup(copy)  # a fresh home would cost ten seconds for its database
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    said: list[str] = []
    script = (
        "import sys, flows.server as s; s.answers = lambda url: s.os._exit(1) if (s.home() / 'server.pid').exists()"
        f" else False; s.ensure('http://127.0.0.1:{port}/api')"
    )
    left = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, timeout=30)
    assert left.returncode == 1
    pid = int((tmp_path / "server.pid").read_text())
    try:
        ensure(f"http://127.0.0.1:{port}/api", said.append)
        assert said == []
        assert int((tmp_path / "server.pid").read_text()) == pid
    finally:
        os.kill(pid, signal.SIGTERM)


def test_serve_flows_hands_its_limit_to_prefect(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    import prefect

    from apps.cli import serve_flows

    served = {}
    monkeypatch.setattr(prefect, "serve", lambda *flows, limit: served.update({limit: [f.name for f in flows]}))
    monkeypatch.chdir(ROOT)
    arguments, flags = parse(parser_of("serve-flows", serve_flows), ["--limit", "3"])
    serve_flows.run(arguments, flags)
    assert served == {3: ["local"] * 7}
