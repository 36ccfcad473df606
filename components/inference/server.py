"""The server of OpenAI's API over engines in this process: on loopback, unless a key is given."""

import sys
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from components.config.groups.serve import Serve
from components.inference.address import bind
from components.inference.api import LocalEngine
from components.inference.served import Served

if TYPE_CHECKING:
    from fastapi import FastAPI

    from components.inference.updates import Updates

INTERRUPT_S = 2
"""How long open answers may go on after ctrl-C; a termination waits for `drain_timeout`."""
SWITCH_S = 0.0005
"""How long a thread of Python keeps the interpreter: the engine's thread asks for it after every operation of torch,
and must not wait the usual 5 ms for the thread that writes the answers."""


@contextmanager
def serving(
    engines: Mapping[str, LocalEngine] | Served,
    settings: Serve | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    api_key: str | None = None,
    updates: "Updates | None" = None,
    with_page: bool = False,
) -> Generator[str]:
    """Serve engines by their names from a thread and yield the base URL; the engines stay open afterwards.

    At the end of the block open answers are finished, for up to `drain_timeout`, or INTERRUPT_S after ctrl-C.

    Raises:
        ConfigError: as `bind`.
    """
    from components.inference.openai_api import create_app

    settings = settings or Serve(drain_timeout=INTERRUPT_S)
    app = create_app(engines, api_key, settings, updates, with_page)
    with listening(app, settings.drain_timeout, host, port, api_key) as url:
        yield url


@contextmanager
def listening(app: "FastAPI", drain_timeout: float, host: str, port: int, api_key: str | None) -> Generator[str]:
    """Serve an application from a thread and yield the base URL; the end is that of `serving`.

    Raises:
        ConfigError: as `bind`.
    """
    import uvicorn

    from components.inference.ending import Ending
    from components.inference.http_heads import LimitedHeads

    with bind(host, port, api_key) as listener:
        config = uvicorn.Config(
            Ending(app),
            http=LimitedHeads,
            ws="none",
            log_config=None,  # configuring logging flushes every handler of the process, which may wait for ever
            log_level="warning",
            access_log=False,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="server", daemon=True)
        switch_s = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)
        thread.start()
        patience_s = drain_timeout
        try:
            yield f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/v1"
        except KeyboardInterrupt:
            patience_s = min(patience_s, INTERRUPT_S)
            raise
        finally:
            config.timeout_graceful_shutdown = max(1, round(patience_s))
            server.should_exit = True
            thread.join(timeout=patience_s + 3)
            sys.setswitchinterval(switch_s)
