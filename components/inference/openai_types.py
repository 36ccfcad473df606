"""Request types of OpenAI's API, validated strictly: no field is ignored silently."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from components.inference.api import GenerationConfig, Message
from components.inference.intake import MAX_CHOICES, MAX_COMPLETIONS, MAX_MESSAGES, MAX_STOP_CHARACTERS

NOT_IMPLEMENTED: dict[str, tuple[Any, ...]] = {
    "logprobs": (None, False),
    "top_logprobs": (None, 0),
    "prompt_logprobs": (None,),
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "logit_bias": (None, {}),
    "response_format": (None, {"type": "text"}),
    "tool_choice": (None, "auto", "none"),
    "functions": (None, []),
    "modalities": (None, ["text"]),
    "best_of": (None, 1),
    "echo": (None, False),
    "suffix": (None, ""),
    "min_p": (None, 0),
    "min_tokens": (None, 0),
    "ignore_eos": (None, False),
    "skip_special_tokens": (None, True),
}
"""Fields that change an answer and are not implemented, with the values that have no effect."""
WITHOUT_EFFECT = (
    "metadata", "parallel_tool_calls", "prompt_cache_key", "safety_identifier", "service_tier", "store", "user",
)  # fmt: skip
"""Fields that do not change an answer."""

STOP_AT_FIRST_FAULT = Field(fail_fast=True)
"""For lists: a huge list of wrong items must not become a huge list of errors."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class StreamOptions(Strict):
    include_usage: bool = False


class TextPart(Strict):
    type: Literal["text"]
    text: str


class CalledFunction(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    name: str
    arguments: str | dict[str, Any] | None = None


class ToolCall(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)

    id: str | None = None
    function: CalledFunction


class ChatMessage(BaseModel):
    """One message, with the fields of a row's that a prompt is made of. Other fields are dropped: a client sends back
    whole messages of earlier answers."""

    model_config = ConfigDict(extra="ignore", strict=True)

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | Annotated[list[TextPart], STOP_AT_FIRST_FAULT] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    thinking: str | None = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: Annotated[list[ToolCall], STOP_AT_FIRST_FAULT] | None = None
    function_call: CalledFunction | None = None

    def for_template(self) -> Message:
        """Return the message for `Prompts`, which reads messages as those of rows; an answer may have been empty."""
        empty_answer = {"content": ""} if self.role == "assistant" and "content" in self.model_fields_set else {}
        return {**empty_answer, **self.model_dump(exclude_none=True)}


Messages = Annotated[list[ChatMessage], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)]
Tools = Annotated[list[dict[str, Any]], STOP_AT_FIRST_FAULT]


def refuse_arguments_of_requests(variables: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of a chat template, unless one is what a request sets by a field of its own."""
    if names := {"messages", "tools", "add_generation_prompt"} & variables.keys():
        raise ValueError(f"{min(names)} is a field of the request and no variable of the chat template")
    return variables


Variables = Annotated[dict[str, Any], AfterValidator(refuse_arguments_of_requests)]
"""What the chat template gets by name, as from the `chat_template_kwargs` of a row."""


class Conversation(Strict):
    """The input of the chat template."""

    messages: Messages
    tools: Tools | None = None
    chat_template_kwargs: Variables = Field(default_factory=dict)


class Generation(Strict):
    """The generation settings of chat and text completions."""

    model: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: str | Annotated[list[str], STOP_AT_FIRST_FAULT] | None = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def refuse_unimplemented_fields(cls, request: Any) -> Any:
        if not isinstance(request, dict):
            return request
        for name, neutral_values in NOT_IMPLEMENTED.items():
            if name in request and name not in cls.model_fields and request[name] not in neutral_values:
                raise ValueError(f"{name} is not implemented by this server; leave it out")
        ignored = {*NOT_IMPLEMENTED, *WITHOUT_EFFECT} - set(cls.model_fields)
        return {name: value for name, value in request.items() if name not in ignored}

    @field_validator("stop")
    @classmethod
    def limit_stop_words(cls, stop: str | list[str] | None) -> str | list[str] | None:
        if sum(map(len, stop or [])) > MAX_STOP_CHARACTERS:
            raise ValueError(f"stop words may have {MAX_STOP_CHARACTERS:,} characters together")
        return stop

    def generation(self, choice: int = 0) -> GenerationConfig:
        """Return the settings of choice number `choice`; each choice has a seed of its own.

        Raises:
            ConfigError: a value is out of range.
        """
        return GenerationConfig(
            max_new_tokens=self.max_tokens,
            temperature=self.temperature,
            top_k=self.top_k,
            top_p=self.top_p,
            repetition_penalty=self.repetition_penalty,
            stop_words=[self.stop] if isinstance(self.stop, str) else self.stop or [],
            seed=None if self.seed is None else self.seed + choice,
            stream=bool(self.stream),
        )


class ChatRequest(Conversation, Generation):
    """POST /v1/chat/completions"""

    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    tool_choice: Literal["auto", "none"] | None = None

    @model_validator(mode="after")
    def merge_aliases(self) -> "ChatRequest":
        self.max_tokens = self.max_completion_tokens or self.max_tokens
        if self.tool_choice == "none":
            self.tools = None
        return self


class CompletionRequest(Generation):
    """POST /v1/completions"""

    prompt: (
        str
        | Annotated[list[int], STOP_AT_FIRST_FAULT]
        | Annotated[list[str], Field(max_length=MAX_COMPLETIONS, fail_fast=True)]
        | Annotated[list[Annotated[list[int], STOP_AT_FIRST_FAULT]], Field(max_length=MAX_COMPLETIONS, fail_fast=True)]
    )


class TokenizeRequest(Strict):
    """POST /tokenize, in vLLM's shape: `prompt`, or `messages` with the other input of the chat template."""

    model: str | None = None
    prompt: str | None = None
    messages: Messages | None = None
    tools: Tools | None = None
    chat_template_kwargs: Variables = Field(default_factory=dict)
    add_generation_prompt: bool = True

    @model_validator(mode="after")
    def require_prompt_or_messages(self) -> "TokenizeRequest":
        if (self.prompt is None) == (self.messages is None):
            raise ValueError("give either prompt or messages")
        return self
