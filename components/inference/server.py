"""The server of OpenAI's API over engines in this process: on loopback, unless a key is given."""

import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from components.inference.address import bind
from components.inference.api import LocalEngine
from components.inference.served import Served

if TYPE_CHECKING:
    from components.inference.openai_api import Limits

SHUTDOWN_TIMEOUT_S = 2
"""How long open answers may go on once the server stops."""


@contextmanager
def serving(
    engines: Mapping[str, LocalEngine] | Served,
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str | None = None,
    limits: "Limits | None" = None,
) -> Generator[str, None, None]:
    """Serve engines by their names from a thread and yield the base URL; the engines stay open afterwards.

    Raises:
        ConfigError: as `bind`.
    """
    import uvicorn

    from components.inference.openai_api import create_app

    with bind(host, port, api_key) as listening:
        config = uvicorn.Config(
            create_app(engines, api_key, limits),
            log_config=None,  # configuring logging flushes every handler of the process, which may wait for ever
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
            thread.join(timeout=SHUTDOWN_TIMEOUT_S + 3)
