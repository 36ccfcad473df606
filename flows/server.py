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
    folder = home()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "martlet-server.lock").open("w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        if not _answers(url):
            _refuse_taken(host, port)
            _start(url, port, say)


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


def _start(url: str, port: int, say: Callable[[str], None]) -> None:
    prepare_environment()
    log = home() / "server.log"
    command = [sys.executable, "-P", "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    page = url.removesuffix("/api")
    say(f"starting Prefect's server, once; it stays in the background: {page} (stop it with `prefect server stop`)")
    with log.open("wb") as output:
        # A session of its own: ctrl-C in this terminal is not for the server.
        server = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=home()
        )
    (home() / "server.pid").write_text(str(server.pid))  # where `prefect server stop` looks
    deadline = time.monotonic() + START_TIMEOUT
    while not _answers(url):
        if server.poll() is not None or time.monotonic() > deadline:
            server.terminate()
            (home() / "server.pid").unlink(missing_ok=True)
            raise MartletError(f"Prefect's server did not start; {log} says why")
        time.sleep(0.1)
