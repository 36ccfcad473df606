"""Request types of OpenAI's API, validated strictly: no field is ignored silently."""

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from components.inference.api import MAX_LOGPROBS, GenerationConfig, Grammar, Message, json_grammar
from components.inference.intake import MAX_CHOICES, MAX_COMPLETIONS, MAX_MESSAGES, MAX_STOP_CHARACTERS
from components.inference.read_answer import schemas_of

NOT_IMPLEMENTED: dict[str, tuple[Any, ...]] = {
    "prompt_logprobs": (None,),
    "functions": (None, []),
    "function_call": (None, "auto", "none"),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "prediction": (None,),
    "web_search_options": (None,),
    "best_of": (None, 1),
    "echo": (None, False),
    "suffix": (None, ""),
    "min_tokens": (None, 0),
    "ignore_eos": (None, False),
}
"""Fields that change an answer and are not implemented, with the values that have no effect."""
WITHOUT_EFFECT = (
    "metadata", "parallel_tool_calls", "prompt_cache_key", "prompt_cache_retention", "reasoning_effort",
    "safety_identifier", "service_tier", "store", "user", "verbosity",
)  # fmt: skip
"""Fields that do not change an answer."""

TOOL_NAME = re.compile(r"[\w.:-]{1,128}")
MAX_BIASES = 1024
"""Tokens of one request's `logit_bias`."""
STOP_AT_FIRST_FAULT = Field(fail_fast=True)
"""For lists: a huge list of wrong items must not become a huge list of errors."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class StreamOptions(Strict):
    include_usage: bool = False
    include_obfuscation: bool = False


class TextPart(Strict):
    type: Literal["text"]
    text: str


class Url(Strict):
    url: str
    detail: str | None = None


class ImagePart(Strict):
    type: Literal["image_url"]
    image_url: Url


class VideoPart(Strict):
    type: Literal["video_url"]
    video_url: Url


class AudioUrlPart(Strict):
    type: Literal["audio_url"]
    audio_url: Url


class Sound(Strict):
    data: str
    format: Annotated[str, Field(pattern=r"^[a-z0-9]{1,8}$")]


class AudioPart(Strict):
    type: Literal["input_audio"]
    input_audio: Sound


Part = Annotated[TextPart | ImagePart | VideoPart | AudioUrlPart | AudioPart, Field(discriminator="type")]


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
    content: str | Annotated[list[Part], STOP_AT_FIRST_FAULT] | None = None
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


def require_names(tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return tools, each of which is a function with a name, nested as OpenAI has it or not."""
    for number, tool in enumerate(tools):
        function = tool.get("function", tool)
        name = function.get("name") if isinstance(function, dict) else None
        if not (isinstance(name, str) and TOOL_NAME.fullmatch(name)):
            raise ValueError(f"{number}: `function.name` is needed, of letters, digits and . _ : -")
    return tools


Tools = Annotated[list[dict[str, Any]], STOP_AT_FIRST_FAULT, AfterValidator(require_names)]


def refuse_arguments_of_requests(variables: dict[str, Any]) -> dict[str, Any]:
    """Return the variables of a chat template, unless one is what a request sets by a field of its own."""
    if names := {"messages", "tools", "add_generation_prompt", "self"} & variables.keys():
        raise ValueError(f"{min(names)} is a field of the request and no variable of the chat template")
    return variables


Variables = Annotated[dict[str, Any], AfterValidator(refuse_arguments_of_requests)]
"""What the chat template gets by name, as from the `chat_template_kwargs` of a row."""


class Conversation(Strict):
    """The input of the chat template."""

    messages: Messages
    tools: Tools | None = None
    chat_template_kwargs: Variables = Field(default_factory=dict)


class JsonSchema(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)

    name: str = ""
    json_schema: dict[str, Any] = Field(default_factory=dict, alias="schema")


class ResponseFormat(Strict):
    """OpenAI's way to ask for JSON."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    @model_validator(mode="after")
    def require_schema(self) -> "ResponseFormat":
        if self.type == "json_schema" and self.json_schema is None:
            raise ValueError("json_schema is missing")
        return self

    def grammar(self) -> Grammar | None:
        """Return the grammar of the answer, or None for free text."""
        if self.type == "text":
            return None
        return json_grammar(self.json_schema.json_schema if self.json_schema else {"type": "object"})


class StructuredOutputs(Strict):
    """vLLM's way to ask for one of several forms."""

    regex: str | None = None
    choice: Annotated[list[str], Field(min_length=1, max_length=1024)] | None = None
    json_value: dict[str, Any] | None = Field(None, alias="json")
    grammar_text: str | None = Field(None, alias="grammar")

    @model_validator(mode="after")
    def require_one(self) -> "StructuredOutputs":
        if len(self.model_dump(exclude_none=True)) != 1:
            raise ValueError("give one of regex, choice, json, grammar")
        return self

    def grammar(self) -> Grammar:
        """Return the grammar of the answer."""
        if self.regex is not None:
            return Grammar("regex", self.regex)
        if self.choice is not None:
            return Grammar("lark", "start: " + " | ".join(map(json.dumps, self.choice)))
        return json_grammar(self.json_value) if self.grammar_text is None else Grammar("lark", self.grammar_text)


class Generation(Strict):
    """The generation settings of chat and text completions."""

    model: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: Annotated[dict[str, float], Field(max_length=MAX_BIASES)] | None = None
    skip_special_tokens: bool = True
    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
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

    @field_validator("logit_bias")
    @classmethod
    def require_token_ids(cls, bias: dict[str, float] | None) -> dict[str, float] | None:
        for key in bias or {}:
            if not (key.isdecimal() and len(key) < 20):
                raise ValueError(f"{key[:20]!r} is no token id")
        return bias

    def grammar(self) -> Grammar | None:
        """Return the grammar of the answer, or None for free text."""
        if self.structured_outputs:
            return self.structured_outputs.grammar()
        return self.response_format.grammar() if self.response_format else None

    def top_logprobs_count(self) -> int | None:
        """Return how many likely tokens come with each token, or None without log probabilities."""
        raise NotImplementedError

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
            min_p=self.min_p,
            repetition_penalty=self.repetition_penalty,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            logit_bias={int(token): value for token, value in (self.logit_bias or {}).items()},
            logprobs=self.top_logprobs_count(),
            grammar=self.grammar(),
            skip_special_tokens=self.skip_special_tokens,
            stop_words=[self.stop] if isinstance(self.stop, str) else self.stop or [],
            seed=None if self.seed is None else self.seed + choice,
            stream=bool(self.stream),
        )


class NamedFunction(Strict):
    name: str


class NamedTool(Strict):
    """The one function that an answer must call."""

    type: Literal["function"] = "function"
    function: NamedFunction


class ChatRequest(Conversation, Generation):
    """POST /v1/chat/completions"""

    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    tool_choice: Literal["auto", "none", "required"] | NamedTool | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False

    @model_validator(mode="after")
    def merge_aliases(self) -> "ChatRequest":
        self.max_tokens = self.max_completion_tokens or self.max_tokens
        if self.tool_choice == "none":
            self.tools = None
        return self

    @model_validator(mode="after")
    def require_agreement(self) -> "ChatRequest":
        if self.top_logprobs and not self.logprobs:
            raise ValueError("top_logprobs needs logprobs: true")
        if self.forces_call and not self.tools:
            raise ValueError("tool_choice needs tools")
        if isinstance(self.tool_choice, NamedTool) and self.tool_choice.function.name not in self.schemas():
            raise ValueError(f"tool_choice: there is no tool {self.tool_choice.function.name!r}")
        if self.forces_call and (self.response_format or self.structured_outputs):
            raise ValueError("tool_choice asks for a call, and response_format for something else")
        if self.continue_final_message and self.messages[-1].role != "assistant":
            raise ValueError("continue_final_message needs an assistant's message at the end")
        if self.continue_final_message and self.grammar():
            raise ValueError("continue_final_message: a grammar begins with the answer; leave one of the two out")
        return self

    @property
    def forces_call(self) -> bool:
        """Whether the answer must be a call."""
        return self.tool_choice == "required" or isinstance(self.tool_choice, NamedTool)

    def schemas(self) -> dict[str, Any]:
        """Return the JSON schemas of arguments by the names of the functions that are offered."""
        return schemas_of(self.tools or [])

    def grammar(self) -> Grammar | None:
        if not self.forces_call:
            return super().grammar()
        schemas = self.schemas()
        if isinstance(self.tool_choice, NamedTool):
            schemas = {name: schemas[name] for name in [self.tool_choice.function.name]}
        calls = [
            {
                "type": "object",
                "properties": {"name": {"const": name}, "arguments": schema},
                "required": ["name", "arguments"],
                "additionalProperties": False,
            }
            for name, schema in schemas.items()
        ]
        return json_grammar(calls[0] if len(calls) == 1 else {"anyOf": calls})

    def top_logprobs_count(self) -> int | None:
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionRequest(Generation):
    """POST /v1/completions"""

    logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    prompt: (
        str
        | Annotated[list[int], STOP_AT_FIRST_FAULT]
        | Annotated[list[str], Field(max_length=MAX_COMPLETIONS, fail_fast=True)]
        | Annotated[list[Annotated[list[int], STOP_AT_FIRST_FAULT]], Field(max_length=MAX_COMPLETIONS, fail_fast=True)]
    )

    def top_logprobs_count(self) -> int | None:
        return self.logprobs


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


class DetokenizeRequest(Strict):
    """POST /detokenize, in vLLM's shape."""

    model: str | None = None
    tokens: Annotated[list[Annotated[int, Field(ge=0)]], STOP_AT_FIRST_FAULT]


class UnloadLoraAdapter(BaseModel):
    """POST /v1/unload_lora_adapter, in vLLM's shape."""

    model_config = ConfigDict(extra="ignore", strict=True)

    lora_name: Annotated[str, Field(pattern=r"^[^\s\x00-\x1f\x7f]{1,200}$")]


class LoadLoraAdapter(UnloadLoraAdapter):
    """POST /v1/load_lora_adapter, in vLLM's shape."""

    lora_path: Annotated[str, Field(min_length=1)]
