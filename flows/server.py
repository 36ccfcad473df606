"""The Prefect server: its address, and its start in the background when none answers. Prefect is not imported."""

import fcntl
import os
import socket
import subprocess
import sys
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from components.errors import ConfigError, MartletError
from tasks.stages.environment import prepare_environment

START_TIMEOUT_S = 180.0
"""Seconds until a new server must answer; the first start in a fresh home creates the database, on a busy machine in
more than a minute."""


def home() -> Path:
    """Return Prefect's folder, `$PREFECT_HOME` or ~/.prefect."""
    return Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()


def api_url() -> str:
    """Return the address of the API: `$PREFECT_API_URL`, a server of this machine at `$PREFECT_SERVER_API_PORT`, the
    address in `prefect.toml` of the current folder, the active profile's, or a server of this machine at port 4200."""
    port = os.environ.get("PREFECT_SERVER_API_PORT")
    from_environment = os.environ.get("PREFECT_API_URL") or (f"http://127.0.0.1:{port}/api" if port else None)
    return from_environment or _folder_url() or _profile_url() or "http://127.0.0.1:4200/api"


def _folder_url() -> str | None:
    file = Path("prefect.toml")
    return tomllib.loads(file.read_text()).get("api", {}).get("url") if file.is_file() else None


def _profile_url() -> str | None:
    file = Path(os.environ.get("PREFECT_PROFILES_PATH", home() / "profiles.toml")).expanduser()
    try:
        profiles = tomllib.loads(file.read_text())
    except FileNotFoundError:
        return None
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active", "")
    return profiles.get("profiles", {}).get(active, {}).get("PREFECT_API_URL")


def ensure(url: str, say: Callable[[str], None] = print) -> None:
    """Wait until the server at `url` answers, and start it if its address is on this machine.

    Raises:
        ConfigError: a server elsewhere does not answer, or another program has the port.
        MartletError: the server could not be started.
    """
    if answers(url):
        return
    address = urlsplit(url)
    host, port = address.hostname or "", address.port or 80
    if host not in ("127.0.0.1", "localhost", "::1"):
        raise ConfigError(f"the Prefect server at {url} does not answer; start it, or unset PREFECT_API_URL")
    home().mkdir(parents=True, exist_ok=True)
    # The server inherits the lock. If this process is interrupted during the start, the next one finds the lock held
    # and waits for the same server, instead of starting a second.
    with (home() / f"martlet-server-{port}.lock").open("w") as lock:
        server, deadline = None, time.monotonic() + START_TIMEOUT_S
        while not answers(url):
            if server is None and _try_lock(lock):
                _require_free_port(host, port)
                server = _start(url, port, lock, say)
            if time.monotonic() > deadline or (server and server.poll() is not None):
                if server:
                    server.terminate()
                    (home() / "server.pid").unlink(missing_ok=True)
                raise MartletError(f"the Prefect server did not start; see {home() / 'server.log'}")
            time.sleep(0.1)


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def answers(url: str) -> bool:
    """Return whether a Prefect server answers at `url`, the address of an API."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=3) as reply:
            return reply.read().strip() == b"true"
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)  # a server that needs a login
    except (OSError, ValueError):
        return False


def _require_free_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((host, port)) == 0:
            raise ConfigError(
                f"port {port} is taken by a program that is not a Prefect server; "
                f"choose another with PREFECT_SERVER_API_PORT={port + 1}"
            )


def _start(url: str, port: int, lock: IO[str], say: Callable[[str], None]) -> subprocess.Popen[bytes]:
    prepare_environment()
    command = [sys.executable, "-P", "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    page = url.removesuffix("/api")
    say(f"starting the Prefect server; it stays in the background: {page} (stop it with `prefect server stop`)")
    with (home() / "server.log").open("wb") as output:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=home(),
            start_new_session=True,  # ctrl-C in this terminal does not reach the server
            pass_fds=[lock.fileno()],
        )
    (home() / "server.pid").write_text(str(server.pid))  # where `prefect server stop` looks
    return server
