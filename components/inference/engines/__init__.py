"""Engines: programs that serve a model with OpenAI's API, one file per engine, named by `infer_backend`.

    engine = ENGINES.load("transformers")
    with engine.served(Path("models/merged"), {}, ServeSettings(load, prompts, names=["martlet"])) as url:
        ...                                       # url is http://127.0.0.1:PORT/v1

A user's engine is a file with the one function `served`.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from components.config import Params
from components.inference.api import GenerationConfig, Prompts
from components.plugins import Kind

Loader = Callable[[Path, Sequence[Path | None]], tuple[list[Any], Any]]
"""From a model folder and adapter folders to the model with each of them, or without one for None, in this process, and
the tokenizer. The models share the weights of the base."""


@dataclass(frozen=True)
class ServeSettings:
    """How a model is served.

    Attributes:
        load: loads the models, for an engine that runs in this process.
        prompts: from a tokenizer and an adapter folder, or None, to what asks that model as it was trained.
        names: names under which clients ask for the model without an adapter; none where only adapters are served.
        port: 0 takes a free port.
        api_key: the key that clients must send, or None.
        max_batch_size: requests generated together; None is the engine's own limit.
        max_model_len: tokens of prompt and answer; None is the model's own limit.
        generation: the settings of requests that name none; its `stop_words` end every answer.
        adapt: loads an adapter folder onto the base, for an engine in this process that runs already.
        on_ready: gets the function by which the model may be replaced while it is served, and the base URL; a user's
            engine that cannot do that never calls it.
        with_page: the server has a page to chat on at /; a user's engine may have none.
        params: all parameters of the command, for an engine that is a program of its own.
    """

    load: Loader
    prompts: Callable[[Any, Path | None], Prompts]
    names: list[str]
    host: str = "127.0.0.1"
    port: int = 0
    api_key: str | None = None
    max_batch_size: int | None = None
    max_model_len: int | None = None
    generation: GenerationConfig = field(default_factory=GenerationConfig)
    adapt: Callable[[Any, Path], Any] | None = None
    on_ready: "OnReady | None" = None
    with_page: bool = False
    params: Params = field(default_factory=Params)


Replace = Callable[[Path, ServeSettings], None]
"""Serves another model folder in place of the one that is served; no request is lost."""
OnReady = Callable[[Replace, str], object]


class Engine(Protocol):
    """What an engine's file defines."""

    def served(self, model: Path, adapters: Mapping[str, Path], settings: ServeSettings) -> AbstractContextManager[str]:
        """Serve the model folder, and by their names the adapter folders on it; enter with the base URL,
        `http://HOST:PORT/v1`.

        The server has answered one completion on entry, and is gone on exit.

        Raises:
            ConfigError: the engine cannot serve this.
            MartletError: the model does not load, or the server does not answer.
        """
        ...


ENGINES = Kind("engine", "infer_backend", "components.inference.engines", Engine)
