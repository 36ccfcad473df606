"""Running the OpenAI-compatible server: on loopback unless a key is given."""

import ipaddress
import socket
import threading
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from components.errors import ConfigError
from components.inference.engine import Engine

if TYPE_CHECKING:
    from fastapi import FastAPI

SHUTDOWN_SECONDS = 2


def create_app(engine: Engine, model_name: str | list[str], api_key: str | None = None) -> "FastAPI":
    """The FastAPI application; see `openai_api`. Without a key it answers only to loopback host names."""
    from components.inference.openai_api import create_app

    return create_app(engine, [model_name] if isinstance(model_name, str) else model_name, api_key)


def bind(host: str = "127.0.0.1", port: int = 8000, api_key: str | None = None) -> socket.socket:
    """A listening socket; port 0 takes a free one. Worth calling before a model is loaded.

    Raises ConfigError when the port is in use, the address is not of this machine, or it is not loopback and there is
    no `api_key`.
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
    # Connections inherit it; without it the last packet of every answer waits for a delayed acknowledgement.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _server(app: "FastAPI") -> Any:
    import uvicorn

    return uvicorn.Server(
        uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=SHUTDOWN_SECONDS)
    )


def serve(
    engine: Engine,
    host: str = "127.0.0.1",
    port: int = 8000,
    served_model_name: str | list[str] = "martlet",
    api_key: str | None = None,
    listening: socket.socket | None = None,
) -> None:
    """Serve until ctrl-C or SIGTERM, then close the engine. `listening` is a socket from `bind`, made beforehand."""
    listening = listening or bind(host, port, api_key)
    try:
        _server(create_app(engine, served_model_name, api_key)).run(sockets=[listening])
    except KeyboardInterrupt:  # uvicorn has shut down in order and passes the signal on
        pass
    finally:
        listening.close()
        engine.close()


@contextmanager
def serving(
    engine: Engine, served_model_name: str | list[str] = "martlet", port: int = 0, api_key: str | None = None
) -> Generator[str, None, None]:
    """Serve in a thread on loopback and yield the base URL, `http://127.0.0.1:PORT/v1`. The engine stays open."""
    with bind("127.0.0.1", port, api_key) as listening:
        server = _server(create_app(engine, served_model_name, api_key))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="server", daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"  # connections queue until the loop runs
        finally:
            server.should_exit = True
            thread.join()
