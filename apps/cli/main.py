"""`martlet COMMAND …`: finds the command's module, parses its flags, and prints an error as one message."""

import os
import signal
import sys
import traceback
from importlib import import_module
from typing import Any

from components.errors import ConfigError, MartletError, did_you_mean, system_problem, without_credentials
from tasks.stages.environment import prepare_environment

COMMANDS = {
    "the pipeline": {
        "run": "run the stages of this workspace that changed",
        "explain": "explain why a stage would run",
        "promote": "make the newest candidate champion, if the gate opens",
        "rollback": "make the previous champion champion again",
        "registry": "list, compare, move, check and clear model versions",
        "runs": "list the runs: date, model, data, loss, score, verdict, folder",
        "serve-flows": "offer the flows to `prefect deployment run`",
    },
    "operating it": {
        "init": "make a workspace elsewhere",
        "status": "show what serves, who is champion, what runs and is queued",
        "logs": "show the log of a stage",
        "ui": "open the pages of Prefect and MLflow",
        "gc": "remove runs and results that nothing needs any more",
        "backup": "write the runs and the registry to one file",
        "restore": "put the runs and the registry of a backup back",
    },
    "single steps, with ms-swift's flags": {
        "sft": "fine-tune a model on chats",
        "pt": "continue pre-training on plain text",
        "rlhf": "align a model with preferences",
        "infer": "talk to a model, or answer a file of questions",
        "sample": "draw answers, judge them, keep the best or make pairs",
        "eval": "evaluate a model on questions and benchmarks",
        "compare": "compare models on the same questions",
        "export": "merge, quantize, write for Ollama, upload to a hub",
        "deploy": "serve a model or the champion with OpenAI's API",
        "app": "serve it with a page to chat on",
    },
    "data and models": {
        "data": "show rows token by token, statistics, differences",
        "datasets": "list the built-in datasets",
        "models": "list models that people train",
        "cache": "show and prune the cache of checked rows and tokens",
    },
    "help": {
        "demo": "take a tiny model through the whole pipeline",
        "env": "install engines and quantizers into environments of their own",
        "validate": "check params.yaml and recipes; nothing runs",
        "doctor": "check this machine: packages, accelerators, ports, disk",
    },
}
NAMES = [name for commands in COMMANDS.values() for name in commands]


def _usage() -> str:
    lines = ["usage: martlet COMMAND …   (martlet help COMMAND: its examples and flags)", ""]
    for title, commands in COMMANDS.items():
        lines += [f"{title}:", *(f"  {name:<12} {text}" for name, text in commands.items()), ""]
    lines += [
        "exit codes: 0 done, 1 failed, 2 configuration, 3 data gate,",
        "            4 evaluation gate, 130 interrupted",
    ]
    return "\n".join(lines)


def _print_unexpected(kind: type[BaseException], error: BaseException, _: object) -> None:
    lines = traceback.format_exception(kind, error, error.__traceback__)
    print(without_credentials("".join(lines)), end="", file=sys.stderr)


def main() -> None:
    """The program `martlet`."""
    sys.excepthook = _print_unexpected
    prepare_environment()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where the shell that started this ignores ctrl-C
        signal.signal(number, signal.default_int_handler)
    try:
        code = dispatch(sys.argv[1:])
    except MartletError as error:
        print(f"martlet: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("martlet: stopped", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except (Exception, SystemExit) as error:
        from components.plugins import fault

        if not (message := system_problem(error) or fault(error)):
            raise
        print(f"martlet: {without_credentials(message)}", file=sys.stderr)
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of libraries (engines, event loops) would delay the end of the program; they have nothing left to write.
    os._exit(code)


def dispatch(words: list[str]) -> int:
    """Run the command that `words` name and return its exit code.

    Raises:
        MartletError: the command failed; the message is for the user.
    """
    if words[:1] == ["help"] and len(words) == 2:
        return dispatch([words[1], "--help"])
    if not words or words[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0
    name, *rest = words
    name = name.replace("_", "-")
    if name == "--version":
        from importlib.metadata import version

        print(f"martlet {version('martlet')}")
        return 0
    if name not in NAMES:
        raise ConfigError(f"unknown command '{name}'{did_you_mean(name, NAMES)}; `martlet --help` lists them")
    from apps.cli.parser import parser_of
    from components.config import parse

    command = _module(name)
    parser = parser_of(name, command)
    arguments, flags = parse(parser, rest, _takers)
    return command.run(arguments, flags) or 0


def _module(command: str) -> Any:
    return import_module(f"apps.cli.{command.replace('-', '_')}")


def _takers(parameter: str) -> list[str]:
    """Return the commands that take a parameter."""
    from components.config import LEAVES, is_taken

    return [name for name in NAMES if is_taken(LEAVES[parameter], getattr(_module(name), "PARAMETERS", ()))]


if __name__ == "__main__":
    main()
