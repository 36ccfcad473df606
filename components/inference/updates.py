"""Changes of a server that runs: adapters come and go, another version of the model takes the place of the first."""

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.errors import ConfigError
from components.inference.api import GenerationConfig
from components.inference.engines import ServeSettings
from components.inference.served import RETIREMENT_S, Served
from components.inference.transformers_engine import TransformersEngine

CHECK = GenerationConfig(max_new_tokens=1, temperature=0)


class Version:
    """A model in this process, and by their names the engines for it and for adapters on it.

    Raises:
        ConfigError: the adapters cannot be served together.
        MartletError: a model does not load.
    """

    def __init__(self, model: Path, adapters: Mapping[str, Path], settings: ServeSettings):
        folders: list[Path | None] = [*([None] if settings.names else []), *adapters.values()]
        models, tokenizer = settings.load(model, folders)
        prompts = [settings.prompts(tokenizer, folder) for folder in folders]
        limits = (settings.max_batch_size, settings.max_model_len)
        self.tokenizer = tokenizer
        self.first = TransformersEngine(models[0], tokenizer, prompts[0], *limits, settings.generation)
        others = [self.first.beside(*pair, settings.generation) for pair in zip(models[1:], prompts[1:], strict=True)]
        adapted = [self.first, *others][len(folders) - len(adapters) :]
        self.engines = {**dict.fromkeys(settings.names, self.first), **dict(zip(adapters, adapted, strict=True))}

    def check(self) -> None:
        """Let every engine compute one token; raises what goes wrong."""
        for engine in self.engines.values():
            check(engine)


class Updates:
    """What may be changed of a server; one change at a time."""

    def __init__(self, served: Served, version: Version, settings: ServeSettings):
        self.served, self.version, self.settings = served, version, settings
        self._lock = threading.Lock()

    def load_adapter(self, name: str, folder: Path) -> None:
        """Serve an adapter on the base under a name of its own; one of this name gives way without a lost request.

        Raises:
            ConfigError: the folder is no adapter, or the name is that of the base.
            MartletError: the adapter does not fit the base.
        """
        if name in self.settings.names:
            raise ConfigError(f"'{name}' is the name of the base; give the adapter another")
        if not self.settings.names or self.settings.adapt is None:
            raise ConfigError("this server serves an adapter alone; adapters can be loaded beside a base")
        if not (folder / "adapter_config.json").is_file():
            raise ConfigError(f"{folder}: no adapter there: there is no adapter_config.json; name a checkpoint folder")
        with self._lock:
            first = self.version.first
            model = self.settings.adapt(first.model, folder)
            prompts = self.settings.prompts(self.version.tokenizer, folder)
            engine = first.beside(model, prompts, self.settings.generation)
            check(engine)
            self.served.put(name, engine)

    def unload_adapter(self, name: str) -> None:
        """Serve an adapter no longer; what it has begun to answer is finished.

        Raises:
            ConfigError: there is no adapter of this name.
        """
        with self._lock:
            if name not in self.served.names or name in self.settings.names:
                raise ConfigError(f"there is no adapter '{name}'")
            if len(self.served.names) == 1:
                raise ConfigError(f"'{name}' is all that this server has")
            self.served.remove(name)

    def replace(self, model: Path, settings: ServeSettings) -> None:
        """Serve another model under the names of the base: load it, check it, switch, and let the old one finish."""
        with self._lock:
            version = Version(model, {}, settings)
            try:
                version.check()
            except Exception:
                version.first.close()
                raise
            old, self.version, self.settings = self.version, version, settings
            for name in self.served.names:
                if name in version.engines:
                    self.served.put(name, version.engines[name])
                else:
                    self.served.remove(name)
        for engine in {*old.engines.values(), old.first}:
            self.served.retire(engine, RETIREMENT_S)
        old.first.close()


def check(engine: TransformersEngine) -> None:
    """Let an engine compute one token; raises what goes wrong."""
    ids: Any = engine.encode("Hello") or [0]
    engine.submit(ids, CHECK).result()
