"""From the body of a request to the work for an engine: checked, rendered as in training, and tokenised."""

from dataclasses import replace
from functools import partial
from typing import Any

from starlette.exceptions import HTTPException

from components.inference.answer_parser import END_THINK, AnswerParser
from components.inference.api import LocalEngine, RequestError
from components.inference.intake import MAX_COMPLETIONS, character_count, require_fitting
from components.inference.media_intake import MediaIntake, without_media
from components.inference.openai_errors import MAX_SHOWN_CHARACTERS
from components.inference.openai_responses import ChatFormat, ResponseFormat, TextFormat, Work
from components.inference.openai_types import (
    ChatMessage,
    ChatRequest,
    CompletionRequest,
    DetokenizeRequest,
    Generation,
    TokenizeRequest,
)
from components.inference.read_answer import family_of, hides_calls, is_thinking
from components.inference.served import Served
from components.media import MediaPrompt

TEMPLATE_FAULTS = (RecursionError, AttributeError, LookupError, ArithmeticError, TypeError)
"""What the code of a chat template raises on values that it does not expect."""


def served_name(served: Served, name: str | None) -> str:
    """Return the name of a model that is served, by default the first.

    Raises:
        HTTPException: 404, there is no model of this name.
    """
    names = served.names
    if name is not None and name not in names:
        raise HTTPException(
            404, f"the model '{name[:MAX_SHOWN_CHARACTERS]}' does not exist; this server has: {', '.join(names)}"
        )
    return name or names[0]


def chat_work(served: Served, body: bytes, media: MediaIntake) -> Work:
    """Return the work of a chat completion."""
    payload = ChatRequest.model_validate_json(body)
    name = served_name(served, payload.model)
    engine = served.engine(name)
    family = family_of(engine.chat_template) if payload.tools else None
    if hides_calls(engine, payload.tools):
        payload.skip_special_tokens = False
    ids = conversation_ids(engine, payload, media)
    opened = END_THINK in engine.chat_template and is_thinking(engine, ids)
    parser = partial(
        AnswerParser,
        opened or (END_THINK in engine.chat_template and not payload.grammar()),
        opened,
        family,
        payload.schemas(),
        payload.forces_call,
    )
    return _work(engine, ChatFormat(name, engine, parser), payload, [ids], END_THINK if opened else "")


def text_work(served: Served, body: bytes) -> Work:
    """Return the work of a completion of plain text."""
    payload = CompletionRequest.model_validate_json(body)
    name = served_name(served, payload.model)
    engine = served.engine(name)
    is_batch = isinstance(payload.prompt, list) and payload.prompt and isinstance(payload.prompt[0], str | list)
    prompts: Any = payload.prompt if is_batch else [payload.prompt]
    ids = [text_ids(engine, prompt) if isinstance(prompt, str) else prompt for prompt in prompts]
    return _work(engine, TextFormat(name, engine), payload, ids)


def token_counts(served: Served, body: bytes, media: MediaIntake) -> dict[str, Any]:
    """Return the answer of /tokenize."""
    payload = TokenizeRequest.model_validate_json(body)
    engine = served.engine(served_name(served, payload.model))
    if payload.messages is None:
        tokens = text_ids(engine, payload.prompt or "")
    else:
        variables, add_generation_prompt = payload.chat_template_kwargs, payload.add_generation_prompt
        tokens = chat_ids(engine, payload.messages, payload.tools, variables, media, add_generation_prompt)
    return {"tokens": tokens, "count": len(tokens), "max_model_len": engine.max_model_len}


def token_text(served: Served, body: bytes) -> dict[str, Any]:
    """Return the answer of /detokenize."""
    payload = DetokenizeRequest.model_validate_json(body)
    engine = served.engine(served_name(served, payload.model))
    try:
        return {"prompt": engine.decode(payload.tokens)}
    except OverflowError as error:
        raise RequestError("tokens: a number is no token id") from error


def conversation_ids(engine: LocalEngine, payload: ChatRequest, media: MediaIntake) -> list[int]:
    """Return the token ids of a chat, up to where the answer begins."""
    messages, variables = payload.messages, payload.chat_template_kwargs
    if not payload.continue_final_message:
        return chat_ids(engine, messages, payload.tools, variables, media, payload.add_generation_prompt)
    beginning = messages[-1].for_template().get("content") or ""
    if not isinstance(beginning, str):
        beginning = "".join(part.get("text", "") for part in beginning)
    before = chat_ids(engine, messages[:-1], payload.tools, variables, media)
    begun = engine.encode(beginning, add_special_tokens=False)
    return before.followed_by(begun) if isinstance(before, MediaPrompt) else [*before, *begun]


def chat_ids(
    engine: LocalEngine,
    messages: list[ChatMessage],
    tools: list[dict[str, Any]] | None,
    variables: dict[str, Any],
    media: MediaIntake,
    add_generation_prompt: bool = True,
) -> list[int]:
    """Return the token ids of messages, by the model's chat template."""
    try:
        conversation = [message.for_template() for message in messages]
        require_fitting(character_count(without_media(conversation), tools, variables), engine)
        return engine.encode_chat(media.admitted(conversation), tools, add_generation_prompt, **variables)
    except TEMPLATE_FAULTS as error:
        raise RequestError(f"the model's chat template fails on these messages: {error}") from error


def text_ids(engine: LocalEngine, text: str) -> list[int]:
    """Return the token ids of plain text."""
    require_fitting(len(text), engine)
    return engine.encode(text)


def _work(
    engine: LocalEngine, form: ResponseFormat, payload: Generation, prompts: list[list[int]], grammar_after: str = ""
) -> Work:
    """Return the work for prompts; a grammar begins after the text `grammar_after` of an answer."""
    choices = payload.n or 1
    if len(prompts) * choices > MAX_COMPLETIONS:
        raise RequestError(
            f"{len(prompts)} prompts with {choices} answers each: one request may have {MAX_COMPLETIONS} answers"
        )
    settings = [payload.generation(choice) for choice in range(choices)]
    if grammar_after:
        settings = [replace(s, grammar=s.grammar and s.grammar._replace(after=grammar_after)) for s in settings]
    jobs = [(ids, engine.resolve(ids, generation)) for ids in prompts for generation in settings]
    with_usage = bool(payload.stream_options and payload.stream_options.include_usage)
    return Work(engine, form, jobs, choices, bool(payload.stream), with_usage)
