"""The chat: a conversation at a terminal, or one query per line from a pipe."""

import importlib
import sys
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from typing import Any, TextIO, get_args, get_type_hints

from components.errors import ConfigError, did_you_mean
from components.inference.api import GenerationConfig, LocalEngine, Message, RequestError, stream_text

PROMPT = "<<< "
QUOTES = '"""'
"""Begins and ends a question of several lines."""
COMMANDS = {
    "/clear": "clear the conversation, as /reset does",
    "/retry": "answer the last question again",
    "/undo": "remove the last question and its answer",
    "/system": "/system TEXT sets the system message and clears the conversation (without TEXT: no system message)",
    "/set": "/set temperature 0.7, or another generation setting",
    "/help": "list the commands",
    '"""': "before and after a question of several lines",
    "/exit": "end the chat, as /quit, exit, quit and ctrl-D do",
}
NOT_TYPED = ("stream", "skip_special_tokens", "logit_bias", "logprobs", "grammar")
"""Generation settings that make no sense at a terminal."""
EXIT_COMMANDS = ("/exit", "/quit", "exit", "quit")


class Chat:
    """One conversation: its messages, the system message, and the generation settings."""

    def __init__(self, engine: LocalEngine, system: str | None, generation: GenerationConfig, **template_kwargs: Any):
        self.engine, self.system, self.generation, self.template_kwargs = engine, system, generation, template_kwargs
        self.history: list[Message] = []

    def answer(self, question: str) -> Generator[str, None, None]:
        """Yield the pieces of the answer. The history keeps the question and the answer, whole or interrupted."""
        system = [{"role": "system", "content": self.system}] if self.system is not None else []
        query = {"role": "user", "content": question}
        prompt_ids = self.engine.encode_chat([*system, *self.history, query], **self.template_kwargs)
        self.engine.resolve(prompt_ids, self.generation)  # a prompt that is too long stays out of the history
        answer: list[str] = []
        try:
            with closing(stream_text(self.engine, prompt_ids, self.generation)) as pieces:
                for piece in pieces:
                    answer.append(piece)
                    yield piece
        finally:
            self.history += [query, {"role": "assistant", "content": "".join(answer)}]

    def undo(self) -> str | None:
        """Remove the last question and answer; return the question, or None when there is none."""
        if not self.history:
            return None
        question = self.history[-2]["content"]
        del self.history[-2:]
        return question

    def command(self, line: str) -> str:
        """Execute a line that begins with a slash and return the message for the user.

        Raises:
            ConfigError: an unknown command, or a wrong argument.
        """
        name, _, argument = line.partition(" ")
        argument = argument.strip()
        match name:
            case "/clear" | "/reset":
                self.history.clear()
                return "the conversation is cleared"
            case "/undo":
                return "nothing to undo" if self.undo() is None else "the last question and answer are removed"
            case "/system":
                self.system = argument or None
                self.history.clear()
                return f"system message: {self.system or 'none'}; the conversation is cleared"
            case "/set":
                return self.set(*argument.partition(" ")[::2])
            case "/help":
                return "\n".join(f"{name:10}{help_}" for name, help_ in COMMANDS.items())
            case _:
                raise ConfigError(
                    f"unknown command {name}{did_you_mean(name, [*COMMANDS, *EXIT_COMMANDS])}; /help lists the commands"
                )

    def set(self, name: str, text: str) -> str:
        """Set a generation setting to the value in `text`, or list all settings when `name` is empty."""
        types = {name: hint for name, hint in get_type_hints(GenerationConfig).items() if name not in NOT_TYPED}
        if not name:
            return "\n".join(f"{key} = {getattr(self.generation, key)}" for key in types)
        if name not in types:
            raise ConfigError(f"unknown setting '{name}'{did_you_mean(name, types)}; there are: {', '.join(types)}")
        number_type = next((type_ for type_ in get_args(types[name]) if type_ in (int, float)), None)
        try:
            value: Any = number_type(text) if number_type else text.split()
        except ValueError:
            expected = "a whole number" if number_type is int else "a number"
            raise ConfigError(f"{name} takes {expected}, not '{text}'") from None
        self.generation = replace(self.generation, **{name: value})
        return f"{name} = {value}"


def chat(
    engine: LocalEngine,
    system: str | None = None,
    generation: GenerationConfig | None = None,
    stream: bool | None = None,
    stdin: TextIO | None = None,
    stdout: TextIO | None = None,
    about: str = "",
    **template_kwargs: Any,
) -> None:
    """Answer the lines of `stdin` until it ends.

    At a terminal: a conversation over several turns, with the commands of `/help`; ctrl-C stops an answer, ctrl-D ends
    the chat. From a pipe: every line is a conversation of its own, each answer is followed by an empty line, and all
    other messages go to standard error.

    Args:
        about: the model, for the opening line at a terminal.
        stream: print an answer while it is generated; None is the setting in `generation`.
        template_kwargs: arguments of the chat template, such as `enable_thinking`.
    """
    source: TextIO = stdin or sys.stdin
    out: TextIO = stdout or sys.stdout
    interactive = source.isatty()
    messages = out if interactive else sys.stderr
    generation = generation or GenerationConfig(stream=True)
    stream = generation.stream if stream is None else stream
    conversation = Chat(engine, system, generation, **template_kwargs)
    if interactive:
        print(f"{about or 'chat'}; /help lists the commands, exit ends the chat", file=out)
    while (line := _read(source, out, interactive)) is not None:
        line = line.strip()
        if interactive and line.startswith(QUOTES):
            line = _several_lines(line.removeprefix(QUOTES), source, out)
        if line in EXIT_COMMANDS and (interactive or line.startswith("/")):
            return
        if not line:
            continue
        try:
            if _is_broken(line):
                raise RequestError("the line is not UTF-8")
            if line == "/retry":
                line = conversation.undo() or ""
                if not line:
                    raise ConfigError("nothing to retry")
            elif line.startswith("/"):
                print(conversation.command(line), file=messages, flush=True)
                continue
            _print_answer(conversation.answer(line), stream, out, interactive)
        except (ConfigError, RequestError) as error:
            hint = " (/clear clears the conversation)" if conversation.history else ""
            print(f"{error}{hint}", file=messages, flush=True)
            if line and not (interactive or line.startswith("/")):
                print("\n", file=out, flush=True)  # an answer without text, in its place
        if not interactive:
            conversation.history.clear()


def _is_broken(line: str) -> bool:
    """Return whether a line holds bytes that are no UTF-8, which Python reads as lone surrogates."""
    return any("\ud800" <= character <= "\udfff" for character in line)


def _several_lines(first: str, stdin: TextIO, stdout: TextIO) -> str:
    """Return the lines up to the one that ends with three quotation marks, or to the end of the input."""
    lines = [first]
    while not lines[-1].rstrip().endswith(QUOTES) and (line := _read(stdin, stdout, True)) is not None:
        lines.append(line.rstrip("\n"))
    return "\n".join(lines).strip().removesuffix(QUOTES).strip()


def _read(stdin: TextIO, stdout: TextIO, interactive: bool) -> str | None:
    """Return the next line, or None at the end of the input. A terminal gets line editing and a history."""
    try:
        if interactive and stdin is sys.stdin and stdout is sys.stdout:
            importlib.import_module("readline")  # once imported, input() edits lines with readline
            return input(PROMPT)
        if interactive:
            print(PROMPT, end="", file=stdout, flush=True)
        return stdin.readline() or None
    except EOFError:
        print(file=stdout)
        return None
    except KeyboardInterrupt:
        if not interactive:
            raise
        print("\n(ctrl-D or /exit ends the chat)", file=stdout, flush=True)
        return ""


def _print_answer(pieces: Generator[str, None, None], stream: bool, stdout: TextIO, interactive: bool) -> None:
    try:
        with closing(pieces):
            if stream:
                for piece in pieces:
                    print(piece, end="", file=stdout, flush=True)
                print(file=stdout)
            else:
                print("".join(pieces), file=stdout)
    except KeyboardInterrupt:
        if not interactive:
            raise
        print(" (stopped)", file=stdout)
    if not interactive:
        print(file=stdout)
    stdout.flush()
