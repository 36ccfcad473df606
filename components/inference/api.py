"""The types of inference: messages, generation settings, completions, and an engine in this process."""

import json
import queue
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple, Protocol

from components.errors import ConfigError, MartletError

Message = dict[str, Any]
OnText = Callable[[str], object]
Prompts = Callable[[list[Message], list[dict[str, Any]] | None, dict[str, Any], bool], list[int]]
"""From messages of any dialect, tools, variables of the chat template, and whether the next answer is asked for, to the
token ids that the model was trained on; raises ValueError for what the template refuses."""


MAX_LOGPROBS = 20
"""Most likely tokens whose log probabilities an answer may come with; OpenAI's limit."""


class RequestError(MartletError):
    """One request cannot be answered: too long, or refused by the chat template. The engine goes on."""

    def __init__(self, message: str, code: str | None = None):
        super().__init__(message)
        self.code = code


MIN_TEMPERATURE = 1e-5
"""Temperature below which logits that are divided by it have no finite values any more; vLLM's."""


class Grammar(NamedTuple):
    """What an answer must be: `kind` is json (a JSON schema), regex or lark, and `text` the schema or the rules; all of
    the answer, or what follows the text `after` in it."""

    kind: Literal["json", "regex", "lark"]
    text: str
    after: str = ""


def json_grammar(schema: Any) -> Grammar:
    """Return the grammar of the JSON texts of a schema."""
    return Grammar("json", json.dumps(schema))


class TokenLogprob(NamedTuple):
    """The natural logarithm of a token's probability, and those of the most likely tokens at its place."""

    token_id: int
    logprob: float
    top: list[tuple[int, float]]


class Answer(Future[Any]):
    """A future of a Completion; `logprobs` grows while the answer is generated."""

    logprobs: list[TokenLogprob]

    def __init__(self) -> None:
        super().__init__()
        self.logprobs = []


@dataclass(frozen=True)
class GenerationConfig:
    """Generation settings under ms-swift's names. `None` means the value of the model's `generation_config.json`.

    Temperature 0 is greedy, and so is a model whose own settings do not sample. `top_k` 0 or -1 is off. The penalties
    on frequency and presence count the tokens of the answer, as OpenAI's do; `logit_bias` is added to the logits of the
    token ids that it names. `max_new_tokens` is cut to the free part of the context. With `logprobs` each token comes
    with the log probabilities of itself and of so many most likely tokens, before any of these settings. With `seed`, a
    sampled answer depends on the prompt and the seed only, not on the other requests of the batch.

    Raises:
        ConfigError: a value is out of range.
    """

    max_new_tokens: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop_words: list[str] = field(default_factory=list)
    seed: int | None = None
    stream: bool = False
    skip_special_tokens: bool = True
    logit_bias: Mapping[int, float] | None = None
    logprobs: int | None = None
    grammar: Grammar | None = None

    def __post_init__(self) -> None:
        self._require("max_new_tokens", "at least 1", lambda value: value >= 1)
        self._require("temperature", "between 0 and 100", lambda value: 0 <= value <= 100)
        self._require("top_k", "0 or -1 (off), or at least 1", lambda value: value >= -1)
        self._require("top_p", "above 0 and at most 1", lambda value: 0 < value <= 1)
        self._require("repetition_penalty", "above 0 and at most 100", lambda value: 0 < value <= 100)
        self._require("min_p", "between 0 and 1", lambda value: 0 <= value <= 1)
        self._require("frequency_penalty", "between -2 and 2", lambda value: -2 <= value <= 2)
        self._require("presence_penalty", "between -2 and 2", lambda value: -2 <= value <= 2)
        self._require("logprobs", f"between 0 and {MAX_LOGPROBS}", lambda value: 0 <= value <= MAX_LOGPROBS)
        if self.logit_bias and not all(-100 <= value <= 100 for value in self.logit_bias.values()):
            raise ConfigError("logit_bias must be between -100 and 100")
        self._require("seed", "between 0 and 2**63 - 1", lambda value: 0 <= value < 2**63)
        if not all(self.stop_words):
            raise ConfigError("stop_words must not hold an empty string")

    @property
    def is_sampled(self) -> bool:
        """Whether tokens are drawn; below MIN_TEMPERATURE the likeliest is taken."""
        return (self.temperature or 0) >= MIN_TEMPERATURE

    def _require(self, name: str, valid_range: str, is_valid: Callable[[Any], bool]) -> None:
        value = getattr(self, name)
        if value is not None and not is_valid(value):
            raise ConfigError(f"{name} must be {valid_range}, not {value}")

    def over(self, defaults: "GenerationConfig") -> "GenerationConfig":
        """Return these settings with each `None` replaced by the value in `defaults`."""
        return replace(self, **{name: getattr(defaults, name) for name, value in vars(self).items() if value is None})


@dataclass(frozen=True)
class Completion:
    """One answer. `token_ids` are all generated tokens, the end-of-turn token included; so many `cached_tokens` of the
    prompt were not computed again."""

    text: str
    token_ids: list[int]
    prompt_tokens: int
    finish_reason: Literal["stop", "length"]
    cached_tokens: int = 0
    logprobs: list[TokenLogprob] = field(default_factory=list)


class LocalEngine(Protocol):
    """An engine in this process, as the server, the chat and the batch run use it.

    Cancelling a future of `submit` frees the request's place in the batch.
    """

    max_model_len: int
    chat_template: str
    """The source of the chat template, which says how tools are called; empty without one."""
    special_tokens: frozenset[str]
    """Tokens that `skip_special_tokens` leaves out of an answer."""

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        """Return the token ids of plain text."""
        ...

    def decode(self, ids: list[int]) -> str:
        """Return the text of token ids, special tokens included."""
        ...

    def encode_chat(
        self,
        messages: list[Message],
        tools: list[dict[str, Any]] | None = None,
        add_generation_prompt: bool = True,
        **template_kwargs: Any,
    ) -> list[int]:
        """Return the token ids of a conversation, as in training, and of the generation prompt.

        Raises:
            RequestError: the tokenizer has no chat template, or the template refuses the messages.
        """
        ...

    def resolve(self, prompt_ids: list[int], generation: GenerationConfig) -> GenerationConfig:
        """Return the settings without any `None`, with `max_new_tokens` cut to the free part of the context.

        Raises:
            RequestError: the prompt is empty or fills the context.
        """
        ...

    def submit(
        self,
        prompt_ids: list[int],
        generation: GenerationConfig,
        on_text: OnText | None = None,
        source: object | None = None,
    ) -> Answer:
        """Queue a prompt and return a future of its Completion; another thread calls `on_text` with pieces of text.

        Prompts of one `source` take turns with those of others: a source with many does not make the others wait.
        """
        ...

    def load(self) -> tuple[int, int]:
        """Return how many requests are computed, and how many wait; engines that share a batch return the same."""
        ...

    def close(self) -> None:
        """Stop the engine and cancel its requests."""
        ...


def stream_text(engine: LocalEngine, prompt_ids: list[int], generation: GenerationConfig) -> Generator[str, None, None]:
    """Yield the pieces of an answer. Closing the generator early stops the generation."""
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
