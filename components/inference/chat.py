"""The chat: a conversation at a terminal, or one query per line from a pipe."""

import importlib
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple, TextIO, get_args, get_type_hints

from components.errors import ConfigError, did_you_mean
from components.inference.api import GenerationConfig, LocalEngine, Message, RequestError, stream_text
from components.media import COLUMNS, KINDS, TAGS, in_parts, tags_in, with_tags

PROMPT = "<<< "
PROMPTS_FOR = {kind: f"Input a{'n' * (kind[0] in 'ai')} {kind} path or URL {PROMPT}" for kind in KINDS}
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


Content = str | list[dict[str, Any]]
"""A question: a text, or texts and media as parts."""


class Attachments(NamedTuple):
    """Media of questions.

    Attributes:
        kinds: whose tags in a question stand for media, none of a model of texts alone.
        first: the media of the first question of a conversation, under the names of a row's columns.
        address: from what somebody types to a path or a data URI.
    """

    kinds: tuple[str, ...] = ()
    first: Mapping[str, list[str]] = MappingProxyType({})
    address: Callable[[str], str] = str


class Chat:
    """One conversation: its messages, the system message, the media of its first question, and the generation
    settings."""

    def __init__(
        self,
        engine: LocalEngine,
        system: str | None,
        generation: GenerationConfig,
        first: Mapping[str, list[str]] = MappingProxyType({}),
        **template_kwargs: Any,
    ):
        self.engine, self.system, self.generation, self.template_kwargs = engine, system, generation, template_kwargs
        self.history: list[Message] = []
        self.first = first

    def answer(self, question: Content) -> Generator[str, None, None]:
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

    def undo(self) -> Content | None:
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
                self.first = {}
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
    attachments: Attachments = Attachments(),  # noqa: B008
    **template_kwargs: Any,
) -> int:
    """Answer the lines of `stdin` until it ends; return how many lines from a pipe have no answer.

    At a terminal: a conversation over several turns, with the commands of `/help`; ctrl-C stops an answer, ctrl-D ends
    the chat. From a pipe: every line is a conversation of its own, each answer is followed by an empty line, and all
    other messages go to standard error.

    Args:
        about: the model, for the opening line at a terminal.
        attachments: media of questions; at a terminal, a tag in a question asks for the path of its medium.
        stream: print an answer while it is generated; None is the setting in `generation`.
        template_kwargs: arguments of the chat template, such as `enable_thinking`.
    """
    source: TextIO = stdin or sys.stdin
    out: TextIO = stdout or sys.stdout
    interactive = source.isatty()
    messages = out if interactive else sys.stderr
    generation = generation or GenerationConfig(stream=True)
    stream = generation.stream if stream is None else stream
    conversation, unanswered = Chat(engine, system, generation, attachments.first, **template_kwargs), 0
    if interactive:
        print(f"{about or 'chat'}; /help lists the commands, exit ends the chat", file=out)
    while (line := _read(source, out, interactive)) is not None:
        line = line.strip()
        if interactive and line.startswith(QUOTES):
            line = _several_lines(line.removeprefix(QUOTES), source, out)
        if line in EXIT_COMMANDS and (interactive or line.startswith("/")):
            break
        if not line:
            continue
        try:
            if _is_broken(line):
                raise RequestError("the line is not UTF-8")
            if line == "/retry":
                question = conversation.undo()
                if not question:
                    raise ConfigError("nothing to retry")
            elif line.startswith("/"):
                print(conversation.command(line), file=messages, flush=True)
                continue
            else:
                first = {} if conversation.history else conversation.first
                question = _question(line, first, attachments, source if interactive else None, out)
            _print_answer(conversation.answer(question), stream, out, interactive)
        except (ConfigError, RequestError) as error:
            hint = " (/clear clears the conversation)" if conversation.history else ""
            print(f"{error}{hint}", file=messages, flush=True)
            if line and not (interactive or line.startswith("/")):
                print("\n", file=out, flush=True)  # an answer without text, in its place
                unanswered += 1
        if not interactive:
            conversation.history.clear()
    return unanswered


def _question(
    line: str, first: Mapping[str, list[str]], attachments: Attachments, terminal: TextIO | None, out: TextIO
) -> Content:
    """Return a line with its media: those of the first question, then those whose paths a terminal is asked for.

    Raises:
        RequestError: a tag stands for no medium.
    """
    media = {name: [*first.get(name, ())] for name in COLUMNS.values()}
    tags = tags_in(line, attachments.kinds)
    for number, kind in enumerate(tags, 1):
        if tags[:number].count(kind) > len(media[COLUMNS[kind]]):
            address = _path_from(kind, attachments, terminal, out) if terminal else None
            if address is None:
                raise RequestError(f"{TAGS[kind]} in the question stands for no {kind}; name its file with --{kind}s")
            media[COLUMNS[kind]].append(address)
    return in_parts(with_tags({"messages": [{"role": "user", "content": line}], **media}))[0]["content"]


def _path_from(kind: str, attachments: Attachments, terminal: TextIO, out: TextIO) -> str | None:
    """Return the address of a medium whose path a terminal is asked for, until one is there; None for an empty line."""
    while path := (_read(terminal, out, True, PROMPTS_FOR[kind]) or "").strip():
        try:
            return attachments.address(path)
        except ConfigError as error:
            print(error, file=out, flush=True)
    return None


def _is_broken(line: str) -> bool:
    """Return whether a line holds bytes that are no UTF-8, which Python reads as lone surrogates."""
    return any("\ud800" <= character <= "\udfff" for character in line)


def _several_lines(first: str, stdin: TextIO, stdout: TextIO) -> str:
    """Return the lines up to the one that ends with three quotation marks, or to the end of the input."""
    lines = [first]
    while not lines[-1].rstrip().endswith(QUOTES) and (line := _read(stdin, stdout, True)) is not None:
        lines.append(line.rstrip("\n"))
    return "\n".join(lines).strip().removesuffix(QUOTES).strip()


def _read(stdin: TextIO, stdout: TextIO, interactive: bool, prompt: str = PROMPT) -> str | None:
    """Return the next line, or None at the end of the input. A terminal gets line editing and a history."""
    try:
        if interactive and stdin is sys.stdin and stdout is sys.stdout:
            importlib.import_module("readline")  # once imported, input() edits lines with readline
            return input(prompt)
        if interactive:
            print(prompt, end="", file=stdout, flush=True)
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
