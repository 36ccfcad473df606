"""What every engine offers, the settings of an answer, and the table of engines."""

import queue
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from components.errors import ConfigError, MartletError, did_you_mean

Message = dict[str, Any]
OnText = Callable[[str], object]


class RequestError(MartletError):
    """This one request cannot be answered (too long, refused by the chat template); the engine is well."""

    def __init__(self, message: str, code: str | None = None):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class GenerationConfig:
    """How to answer; the names are ms-swift's. `None` means the model's own `generation_config.json`.

    temperature 0 (or a model that does not ask for sampling) is greedy. top_k 0 or -1 is off. `max_new_tokens` is cut
    to what the context leaves. With `seed`, a sampled answer depends on the prompt and the seed only, whatever else
    runs beside it. Raises ConfigError for a value out of range.
    """

    max_new_tokens: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    stop_words: list[str] = field(default_factory=list)
    seed: int | None = None
    stream: bool = False

    def __post_init__(self) -> None:
        rules = {
            "max_new_tokens": ("at least 1", lambda value: value >= 1),
            "temperature": ("between 0 and 100", lambda value: 0 <= value <= 100),
            "top_k": ("0 or -1 (off), or at least 1", lambda value: value >= -1),
            "top_p": ("above 0 and at most 1", lambda value: 0 < value <= 1),
            "repetition_penalty": ("above 0 and at most 100", lambda value: 0 < value <= 100),
            "seed": ("between 0 and 2**63 - 1", lambda value: 0 <= value < 2**63),
        }
        for name, (range_, holds) in rules.items():
            value = getattr(self, name)
            if value is not None and not holds(value):
                raise ConfigError(f"{name} must be {range_}, not {value}")
        if not all(self.stop_words):
            raise ConfigError("stop_words must not hold an empty string")

    def over(self, defaults: "GenerationConfig") -> "GenerationConfig":
        """These settings, with each `None` taken from `defaults`."""
        return replace(self, **{k: getattr(defaults, k) for k, v in vars(self).items() if v is None})


@dataclass(frozen=True)
class Completion:
    """One answer. `token_ids` are all tokens that were generated, the end-of-turn token included."""

    text: str
    token_ids: list[int]
    prompt_tokens: int
    finish_reason: Literal["stop", "length"]


class Engine(Protocol):
    """What the server, the chat and the batch run need of an engine. Cancelling a future frees its place."""

    max_model_len: int

    def encode(self, text: str) -> list[int]:
        """Token ids of plain text."""
        ...

    def encode_chat(self, messages: list[Message], **template_kwargs: Any) -> list[int]:
        """Token ids of a conversation, rendered by the tokenizer's own template with the start of an answer.

        Raises RequestError when there is no template or it refuses the messages.
        """
        ...

    def resolve(self, prompt_ids: list[int], generation: GenerationConfig) -> GenerationConfig:
        """The settings with nothing left open and `max_new_tokens` cut to the context; RequestError if none fits."""
        ...

    def submit(self, prompt_ids: list[int], generation: GenerationConfig, on_text: OnText | None = None) -> Future:
        """Queue a prompt; the future gives its Completion. `on_text` gets each piece of text, in another thread."""
        ...

    def close(self) -> None:
        """Stop working and cancel what is queued."""
        ...


def stream_text(engine: Engine, prompt_ids: list[int], generation: GenerationConfig) -> Generator[str, None, None]:
    """Yield the answer piece by piece. Closing the iterator early stops the generation."""
    pieces: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    future = engine.submit(prompt_ids, generation, pieces.put)
    future.add_done_callback(lambda _: pieces.put(None))
    try:
        while (piece := pieces.get()) is not None:
            yield piece
        future.result()
    except CancelledError:
        raise MartletError("the engine was closed before the answer was finished") from None
    finally:
        future.cancel()


def load_engine(
    model: Path | str,
    adapter: Path | str | None = None,
    torch_dtype: str | None = None,
    attn_impl: str | None = None,
    max_batch_size: int = 16,
    max_model_len: int | None = None,
) -> Engine:
    """The built-in engine: see `transformers_engine.load`."""
    from components.inference.transformers_engine import load

    return load(model, adapter, torch_dtype, attn_impl, max_batch_size, max_model_len)


ENGINES: dict[str, Callable[..., Engine]] = {"transformers": load_engine, "pt": load_engine}
ELSEWHERE = ("vllm", "sglang", "lmdeploy")


def engine_for(infer_backend: str) -> Callable[..., Engine]:
    """The function that loads an engine, by its name. Raises ConfigError for one that is not built in."""
    if infer_backend in ENGINES:
        return ENGINES[infer_backend]
    if infer_backend in ELSEWHERE:
        raise ConfigError(
            f"infer_backend '{infer_backend}' is not built in; 'transformers' is. A merged model folder runs in vLLM as"
            " it is, from an environment of its own: merge with --merge_lora true, then\n"
            "  uv venv .venvs/vllm && uv pip install --python .venvs/vllm vllm\n"
            "  .venvs/vllm/bin/vllm serve MERGED_FOLDER --host 127.0.0.1"
        )
    raise ConfigError(
        f"unknown infer_backend '{infer_backend}'{did_you_mean(infer_backend, [*ENGINES, *ELSEWHERE])};"
        f" built in: {', '.join(ENGINES)}"
    )
