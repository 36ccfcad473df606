"""The server of OpenAI's API over an engine in this process: on loopback, unless a key is given."""

import ipaddress
import socket
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from components.errors import ConfigError
from components.inference.api import LocalEngine

SHUTDOWN_TIMEOUT_S = 2
"""How long open answers may go on once the server stops."""


def bind(host: str = "127.0.0.1", port: int = 8000, api_key: str | None = None) -> socket.socket:
    """Return a listening socket; port 0 takes a free port.

    Raises:
        ConfigError: the port is in use, the address is not of this machine, or is not loopback and `api_key` is None.
    """
    if not api_key and not _is_loopback(host):
        raise ConfigError(
            f"--host {host} opens the server to the network: set a key in MARTLET_API_KEY, or use --host 127.0.0.1"
        )
    try:
        listening = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]
        raise ConfigError(f"cannot listen on {host}, port {port}: {reason}. Choose another with --port") from error
    # Connections inherit TCP_NODELAY; without it the last packet of every answer waits for a delayed acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def serving(
    engine: LocalEngine,
    names: Sequence[str],
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str | None = None,
) -> Generator[str, None, None]:
    """Serve `engine` as each of `names` from a thread and yield the base URL; the engine stays open afterwards.

    Raises:
        ConfigError: as `bind`.
    """
    import uvicorn

    from components.inference.openai_api import create_app

    with bind(host, port, api_key) as listening:
        config = uvicorn.Config(
            create_app(engine, names, api_key),
            log_level="warning",
            access_log=False,
            timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_S,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="server", daemon=True)
        thread.start()
        try:
            yield f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            thread.join()
