"""transformers in this process: every architecture that `generate` knows, with any number of adapters on one base."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from components.inference.engines import ServeSettings
from components.inference.engines._ready import require_completion
from components.inference.served import Served
from components.inference.server import serving


@contextmanager
def served(model: Path, adapters: Mapping[str, Path], settings: ServeSettings) -> Generator[str]:
    """Load the model and serve it from a thread; see `Engine.served`."""
    from components.inference.updates import Updates, Version

    version = Version(model, adapters, settings)
    table = Served(version.engines)
    updates = Updates(table, version, settings)
    try:
        address = settings.host, settings.port, settings.api_key
        with serving(table, settings.params.serve, *address, updates, settings.with_page) as url:
            for name in table.names:
                require_completion(url, name, settings.api_key)
            if settings.on_ready:
                settings.on_ready(updates.replace, url)
            yield url
    finally:
        updates.version.first.close()
