"""transformers in this process: every architecture that `generate` knows, with at most one adapter."""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from components.errors import ConfigError
from components.inference.engines import ServeSettings
from components.inference.engines._ready import require_completion
from components.inference.server import serving


@contextmanager
def served(model: Path, adapters: list[Path], settings: ServeSettings) -> Generator[str]:
    """Load the model and serve it from a thread; see `Engine.served`."""
    from components.inference.transformers_engine import TransformersEngine

    if len(adapters) > 1:
        raise ConfigError(f"infer_backend 'transformers' serves one adapter at a time, not {len(adapters)}")
    loaded, tokenizer = settings.load(model, adapters[0] if adapters else None)
    engine = TransformersEngine(
        loaded,
        tokenizer,
        settings.prompts(tokenizer),
        settings.max_batch_size,
        settings.max_model_len,
        settings.generation,
    )
    try:
        with serving(engine, settings.names, settings.host, settings.port, settings.api_key) as url:
            require_completion(url, settings.names[0], settings.api_key)
            yield url
    finally:
        engine.close()
