"""Talk to a model, or answer a file of questions.

  martlet infer --model models/base --temperature 0 --max_new_tokens 64
  martlet infer --adapters output/first/checkpoint-20 \\
    --val_dataset examples/eval/sounds.jsonl --result_path answers.jsonl

With --adapters, model and system prompt are those of the training. Without
--adapters and --model the champion answers.
"""

import argparse
import sys
from typing import Any

from components.config import read_flags, resolve
from tasks import effects, target

PARAMETERS = (
    *target.PARAMETERS, "generation", "data.val_dataset", "data.model_name", "data.model_author", "run.result_path",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from components.inference import chat
    from tasks import answering

    effects.require(flags, resolve(read_flags(flags)), effects.ANSWERING)
    model = target.merged(target.find(flags, _note), _note)
    params = model.params
    if params.data.val_dataset:
        answering.result_file(params)  # before the model is loaded
    engine = answering.local_engine(model)
    try:
        if params.data.val_dataset:
            count, unanswered, result = answering.answer_files(engine, params, _show_count)
            print(f"{count - unanswered} answers in {result}")
            if unanswered:
                print(f"{unanswered} rows could not be answered: their `error` in {result} says why")
        else:
            chat(engine, params.template.system, answering.generation_config(params), about=_about(model))
    finally:
        engine.close()


def _note(line: str) -> None:
    """Print a line that is no answer: a pipe takes the answers alone."""
    print(line, file=sys.stderr)


def _about(model: target.Target) -> str:
    adapter = f" with the adapter {model.adapter}" if model.adapter else ""
    return f"{model.model}{adapter}"


def _show_count(count: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{count} answered", end="", file=sys.stderr)
