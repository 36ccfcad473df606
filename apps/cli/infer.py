"""Talk to a model, or answer a file of questions.

  martlet infer --model models/base --temperature 0 --max_new_tokens 64
  martlet infer --adapters output/first/checkpoint-20 \\
    --val_dataset examples/eval/sounds.jsonl --result_path answers.jsonl

With --adapters, model and system prompt are those of the training. Without
--adapters and --model the champion answers.
"""

import argparse
import sys
from typing import TYPE_CHECKING, Any

from components.config import Params, read_flags, resolve
from tasks import effects, target

if TYPE_CHECKING:
    from tasks.encoders import Encoder

PARAMETERS = (
    *target.PARAMETERS, "generation", "data.val_dataset", "data.model_name", "data.model_author", "run.result_path",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> None:
    from components.inference import chat
    from tasks import answering, encoders

    effects.require(flags, resolve(read_flags(flags)), effects.ANSWERING)
    model = target.merged(target.find(flags, _note), _note)
    params = model.params
    if params.data.val_dataset:
        answering.result_file(params)  # before the model is loaded
    if encoder := encoders.encoder_of(model):
        _encode(encoder, params)
        return
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


def _encode(encoder: "Encoder", params: Params) -> None:
    """Tell the classes, or print the vectors, of the rows of --val_dataset, or of each line that is typed."""
    from tasks import encoders

    if params.data.val_dataset:
        count, result = encoders.encode_files(encoder, params, _show_count)
        print(f"{count} rows in {result}")
        return
    _note("each line is a text of its own; ctrl-D ends")
    system = params.template.system
    before = [{"role": "system", "content": system}] if system else []
    for line in filter(None, map(str.strip, sys.stdin)):
        answer = encoder({"messages": [*before, {"role": "user", "content": line}]})
        if "error" in answer:
            _note(answer["error"])
            continue
        shares = ", ".join(f"{name} {share:.3f}" for name, share in answer.get("probabilities", {}).items())
        print(answer.get("response", answer.get("embedding")), f"({shares})" if shares else "", flush=True)


def _note(line: str) -> None:
    """Print a line that is no answer: a pipe takes the answers alone."""
    print(line, file=sys.stderr)


def _about(model: target.Target) -> str:
    adapter = f" with the adapter {model.adapter}" if model.adapter else ""
    return f"{model.model}{adapter}"


def _show_count(count: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{count} answered", end="", file=sys.stderr)
