"""The text of an answer as a message, by the model's chat template."""

from functools import cache
from typing import Any

from components.inference.answer_parser import END_THINK, THINK, AnswerParser, message_of
from components.inference.api import LocalEngine, Message
from components.inference.tool_parsers import parser_of

THINKING_TAIL_TOKENS = 64
"""Tokens at the end of a prompt in which an opened <think> is looked for."""

family_of = cache(parser_of)


def is_thinking(engine: LocalEngine, prompt_ids: list[int]) -> bool:
    """Return whether a prompt has opened the answer's thinking."""
    tail = engine.decode(prompt_ids[-THINKING_TAIL_TOKENS:])
    return tail.rfind(THINK) > tail.rfind(END_THINK)


def schemas_of(tools: list[Any]) -> dict[str, Any]:
    """Return the JSON schemas of arguments by the names of the functions that are offered."""
    functions = [tool.get("function", tool) for tool in tools]
    return {
        function["name"]: function.get("parameters") or {"type": "object"}
        for function in functions
        if isinstance(function, dict) and isinstance(function.get("name"), str)
    }


def hides_calls(engine: LocalEngine, tools: list[Any] | None) -> bool:
    """Return whether an answer without special tokens would hide its calls: their marks are such tokens."""
    family = family_of(engine.chat_template) if tools else None
    return family is not None and family.BEGIN in engine.special_tokens


def read_answer(engine: LocalEngine, prompt_ids: list[int], tools: list[dict[str, Any]] | None, text: str) -> Message:
    """Return an answer as a message of a row: what it thought, what it says, and which tools it calls."""
    thinks = END_THINK in engine.chat_template
    family = family_of(engine.chat_template) if tools else None
    parser = AnswerParser(thinks, thinks and is_thinking(engine, prompt_ids), family, schemas_of(tools or []))
    message = message_of([*parser.feed(text), *parser.close()])
    for call in message.get("tool_calls", []):
        del call["id"]  # which is drawn
    return message | {"content": message["content"] or ""}
