"""Talk to a model, or answer a file of questions.

  martlet infer --model models/base --temperature 0 --max_new_tokens 64
  martlet infer --adapters output/first/checkpoint-20 \\
    --val_dataset examples/eval/identity.jsonl --result_path answers.jsonl

With --adapters, model and system prompt are those of the training. Without
--adapters and --model the champion answers.
"""

import argparse
import sys
from typing import Any

from tasks import target

PARAMETERS = (*target.PARAMETERS, "data.val_dataset", "run.result_path")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from components.inference import chat
    from tasks import answering

    model = target.merged(target.find(flags), print)
    params = model.params
    engine = answering.local_engine(model)
    try:
        if params.data.val_dataset:
            count, result = answering.answer_files(engine, params, _show_count)
            print(f"{count} answers in {result}")
        else:
            chat(engine, params.template.system, answering.generation_config(params))
    finally:
        engine.close()


def _show_count(count: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{count} answered", end="", file=sys.stderr)
