"""transformers in this process: every architecture that `generate` knows, with any number of adapters on one base."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path

from components.inference.engines import ServeSettings
from components.inference.engines._ready import require_completion
from components.inference.server import serving


@contextmanager
def served(model: Path, adapters: Mapping[str, Path], settings: ServeSettings) -> Generator[str]:
    """Load the model and serve it from a thread; see `Engine.served`."""
    from components.inference.transformers_engine import TransformersEngine

    folders: list[Path | None] = [*([None] if settings.names else []), *adapters.values()]
    models, tokenizer = settings.load(model, folders)
    prompts = [settings.prompts(tokenizer, folder) for folder in folders]
    first = TransformersEngine(
        models[0], tokenizer, prompts[0], settings.max_batch_size, settings.max_model_len, settings.generation
    )
    others = [first.beside(*pair, settings.generation) for pair in zip(models[1:], prompts[1:], strict=True)]
    adapted = [first, *others][len(folders) - len(adapters) :]
    engines = {**dict.fromkeys(settings.names, first), **dict(zip(adapters, adapted, strict=True))}
    try:
        with serving(engines, settings.host, settings.port, settings.api_key) as url:
            for name in engines:
                require_completion(url, name, settings.api_key)
            yield url
    finally:
        first.close()
