"""The terminal chat: a conversation at a terminal, or one query per line from a pipe."""

import importlib
import sys
from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from typing import Any, TextIO, get_args, get_type_hints

from components.errors import ConfigError, did_you_mean
from components.inference.engine import Engine, GenerationConfig, Message, RequestError, stream_text

PROMPT = "<<< "
COMMANDS = {
    "/clear": "forget the conversation",
    "/retry": "answer the last question again",
    "/undo": "take the last question and answer back",
    "/system": "/system TEXT sets the system message and starts afresh (without TEXT: none)",
    "/set": "/set temperature 0.7, or another generation setting",
    "/help": "this list",
    "/exit": "end (so do /quit and ctrl-D)",
}
ENDS = ("/exit", "/quit")


class Chat:
    """The state of one conversation: what was said, the system message, the settings."""

    def __init__(self, engine: Engine, system: str | None, generation: GenerationConfig, **template_kwargs: Any):
        self.engine, self.system, self.generation, self.template_kwargs = engine, system, generation, template_kwargs
        self.history: list[Message] = []

    def answer(self, question: str) -> Generator[str, None, None]:
        """Yield the answer's pieces; what was said goes into the history, an interrupted answer as far as it came."""
        head = [{"role": "system", "content": self.system}] if self.system else []
        asked = {"role": "user", "content": question}
        prompt_ids = self.engine.encode_chat([*head, *self.history, asked], **self.template_kwargs)
        self.engine.resolve(prompt_ids, self.generation)
        said: list[str] = []
        try:
            with closing(stream_text(self.engine, prompt_ids, self.generation)) as pieces:
                for piece in pieces:
                    said.append(piece)
                    yield piece
        finally:
            self.history += [asked, {"role": "assistant", "content": "".join(said)}]

    def undo(self) -> str | None:
        """Forget the last turn and return its question."""
        if not self.history:
            return None
        question = self.history[-2]["content"]
        del self.history[-2:]
        return question

    def command(self, line: str) -> str:
        """Carry out one line that begins with a slash and return what to say about it. Raises ConfigError."""
        name, _, argument = line.partition(" ")
        argument = argument.strip()
        match name:
            case "/clear":
                self.history.clear()
                return "the conversation is forgotten"
            case "/undo":
                return "nothing to undo" if self.undo() is None else "the last turn is forgotten"
            case "/system":
                self.system = argument or None
                self.history.clear()
                return f"system message: {self.system or 'none'}; the conversation starts afresh"
            case "/set":
                return self.set(*argument.partition(" ")[::2])
            case "/help":
                return "\n".join(f"{name:10}{help_}" for name, help_ in COMMANDS.items())
            case _:
                raise ConfigError(f"unknown command {name}{did_you_mean(name, [*COMMANDS, *ENDS])}; /help lists them")

    def set(self, name: str, text: str) -> str:
        """Change one generation setting from its text, or list all of them when there is no name."""
        kinds = get_type_hints(GenerationConfig)
        del kinds["stream"]
        if not name:
            return "\n".join(f"{key} = {getattr(self.generation, key)}" for key in kinds)
        if name not in kinds:
            raise ConfigError(f"unknown setting '{name}'{did_you_mean(name, kinds)}; there are: {', '.join(kinds)}")
        number = next((kind for kind in get_args(kinds[name]) if kind in (int, float)), None)
        try:
            value: Any = number(text) if number else text.split()
        except ValueError:
            wanted = "a whole number" if number is int else "a number"
            raise ConfigError(f"{name} takes {wanted}, not '{text}'") from None
        self.generation = replace(self.generation, **{name: value})
        return f"{name} = {value}"


def chat(
    engine: Engine,
    system: str | None = None,
    generation: GenerationConfig | None = None,
    stream: bool | None = None,
    stdin: TextIO | None = None,
    stdout: TextIO | None = None,
    **template_kwargs: Any,
) -> None:
    """Talk to the model until the input ends.

    At a terminal: a prompt, a conversation over several turns, the commands of `/help`; ctrl-C stops an answer, ctrl-D
    ends. From a pipe: every line is a conversation of its own, and an answer is followed by an empty line. What is not
    an answer goes to standard error there. `stream` None is the setting in `generation`. `template_kwargs` (such as
    `enable_thinking`) go to the chat template.
    """
    source: TextIO = stdin or sys.stdin
    out: TextIO = stdout or sys.stdout
    interactive = source.isatty()
    notes = out if interactive else sys.stderr
    generation = generation or GenerationConfig(stream=True)
    stream = generation.stream if stream is None else stream
    talk = Chat(engine, system, generation, **template_kwargs)
    while (line := _read(source, out, interactive)) is not None:
        line = line.strip()
        if line in ENDS:
            return
        if not line:
            continue
        try:
            if line == "/retry":
                line = talk.undo() or ""
                if not line:
                    raise ConfigError("nothing to retry")
            elif line.startswith("/"):
                print(talk.command(line), file=notes, flush=True)
                continue
            _say(talk.answer(line), stream, out, interactive)
        except (ConfigError, RequestError) as error:
            print(f"{error}{' (/clear forgets the conversation)' if talk.history else ''}", file=notes, flush=True)
        if not interactive:
            talk.history.clear()


def _read(stdin: TextIO, stdout: TextIO, interactive: bool) -> str | None:
    """The next line, or None at the end. Standard input at a terminal gets line editing and a history."""
    try:
        if interactive and stdin is sys.stdin and stdout is sys.stdout:
            importlib.import_module("readline")  # input() uses it once it is imported

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
        print("\n(ctrl-D or /exit ends)", file=stdout, flush=True)
        return ""


def _say(pieces: Generator[str, None, None], stream: bool, stdout: TextIO, interactive: bool) -> None:
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
