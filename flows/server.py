"""One Prefect server for everything, started in the background when none answers. Nothing of Prefect is imported."""

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

START_TIMEOUT = 60.0
"""Seconds for a server to answer; the first one in a fresh home creates its database."""


def home() -> Path:
    """Prefect's own folder."""
    return Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser()


def api_url() -> str:
    """The API's address: `PREFECT_API_URL`, the active profile's, or our own server's on this machine."""
    port = os.environ.get("PREFECT_SERVER_API_PORT", "4200")
    return os.environ.get("PREFECT_API_URL") or _profile_url() or f"http://127.0.0.1:{port}/api"


def _profile_url() -> str | None:
    file = Path(os.environ.get("PREFECT_PROFILES_PATH", home() / "profiles.toml")).expanduser()
    try:
        profiles = tomllib.loads(file.read_text())
    except FileNotFoundError:
        return None
    active = os.environ.get("PREFECT_PROFILE") or profiles.get("active", "")
    return profiles.get("profiles", {}).get(active, {}).get("PREFECT_API_URL")


def ensure(url: str, say: Callable[[str], None] = print) -> None:
    """Return when the server at `url` answers; start one if it should run on this machine and does not.

    Raises:
        ConfigError: a server elsewhere does not answer, or another program has the port.
        MartletError: the server could not be started.
    """
    if _answers(url):
        return
    where = urlsplit(url)
    host, port = where.hostname or "", where.port or 80
    if host not in ("127.0.0.1", "localhost", "::1"):
        raise ConfigError(f"the Prefect server at {url} does not answer; start it, or unset PREFECT_API_URL")
    home().mkdir(parents=True, exist_ok=True)
    # The server holds this lock as well, from its first moment on: whoever is interrupted while it starts leaves one
    # that the next one waits for, instead of starting a second.
    with (home() / f"martlet-server-{port}.lock").open("w") as lock:
        server, deadline = None, time.monotonic() + START_TIMEOUT
        while not _answers(url):
            if server is None and _free(lock):
                _refuse_taken(host, port)
                server = _start(url, port, lock, say)
            if time.monotonic() > deadline or (server and server.poll() is not None):
                if server:
                    server.terminate()
                    (home() / "server.pid").unlink(missing_ok=True)
                raise MartletError(f"Prefect's server did not start; {home() / 'server.log'} says why")
            time.sleep(0.1)


def _free(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=3) as reply:
            return reply.read().strip() == b"true"
    except urllib.error.HTTPError as error:
        return error.code in (401, 403)  # a server that wants to know who asks
    except (OSError, ValueError):
        return False


def _refuse_taken(host: str, port: int) -> None:
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
    say(f"starting Prefect's server, once; it stays in the background: {page} (stop it with `prefect server stop`)")
    with (home() / "server.log").open("wb") as output:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=home(),
            start_new_session=True,  # ctrl-C in this terminal is not for the server
            pass_fds=[lock.fileno()],
        )
    (home() / "server.pid").write_text(str(server.pid))  # where `prefect server stop` looks
    return server
