"""Talk to a model, or answer a file of questions.

  martlet infer --model models/base --temperature 0 --max_new_tokens 64
  martlet infer --adapters output/first/checkpoint-20 \\
    --val_dataset examples/eval/sounds.jsonl --result_path answers.jsonl

A model that sees or hears asks for the file of each <image>, <video> and <audio>
in a question; --images, --videos and --audios name those of a first question.

With --adapters, model and system prompt are those of the training. Without
--adapters and --model the champion answers.
"""

import argparse
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from components.config import Params, read_flags, resolve
from components.errors import ConfigError
from tasks import effects, target
from tasks.target import Target

if TYPE_CHECKING:
    from components.inference import Attachments
    from components.inference.pooling import PoolingEngine

PARAMETERS = (
    *target.PARAMETERS, "generation", "vllm", "lmdeploy", "sglang", "multimodal",
    "data.val_dataset", "data.model_name", "data.model_author", "data.root_image_dir", "data.download_media",
    "run.images", "run.videos", "run.audios", "run.result_path",
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(arguments: argparse.Namespace, flags: dict[str, Any]) -> int:
    from components.inference import chat
    from tasks import answering, encoders, engines

    effects.require(flags, resolve(read_flags(flags)), effects.ANSWERING)
    model = target.merged(target.find(flags, _note), _note)
    params = model.params
    if params.data.val_dataset:
        answering.result_file(params)  # before the model is loaded
    attached = _attachments(model)
    if encoders.is_encoder(model):
        effects.require(flags, model.params, effects.ENCODING)
        with encoders.loaded(model) as engine:
            _encode(engine, params)
        return 0
    with engines.engine_of(model) as engine:
        if params.data.val_dataset:
            count, unanswered, result = answering.answer_files(engine, params, target.identity(model), Progress())
            print(f"{count - unanswered} answers in {result}")
            if unanswered:
                rows = "row" if unanswered == 1 else "rows"
                print(f"{unanswered} {rows} could not be answered; `error` in {result} says why")
        else:
            generation = answering.generation_config(params)
            unanswered = chat(engine, params.template.system, generation, about=_about(model), attachments=attached)
            return 1 if unanswered else 0
    return 0


def _encode(engine: "PoolingEngine", params: Params) -> None:
    """Tell the classes, or print the vectors, of the rows of --val_dataset, or of each line that is typed."""
    from tasks import encoders

    if params.data.val_dataset:
        count, result = encoders.encode_files(engine, params, Progress())
        print(f"{count} rows in {result}")
        return
    _note("each line is a text of its own; ctrl-D ends")
    system = params.template.system
    before = [{"role": "system", "content": system}] if system else []
    for line in filter(None, map(str.strip, sys.stdin)):
        answer = encoders.answer(engine, {"messages": [*before, {"role": "user", "content": line}]})
        if "error" in answer:
            _note(answer["error"])
            continue
        shares = ", ".join(f"{name} {share:.3f}" for name, share in answer.get("probabilities", {}).items())
        print(answer.get("response", answer.get("embedding")), f"({shares})" if shares else "", flush=True)


def _attachments(model: Target) -> "Attachments":
    """Return the media of a first question, and how those of others are found.

    Raises:
        ConfigError: a file is not there, or the model takes texts alone.
    """
    from components.inference import Attachments
    from components.media import COLUMNS, KINDS, takes_media
    from tasks import answering

    address, run = answering.media_address(model.params), model.params.run
    first = {name: [address(path) for path in getattr(run, name)] for name in COLUMNS.values()}
    takes = takes_media(model.model)
    if not takes and (names := [name for name, paths in first.items() if paths]):
        raise ConfigError(f"--{names[0]}: {model.model} takes texts alone")
    return Attachments(KINDS if takes else (), first, address)


def _note(line: str) -> None:
    """Print a line that is no answer: a pipe takes the answers alone."""
    print(line, file=sys.stderr)


def _about(model: target.Target) -> str:
    adapter = f" with the adapter {model.adapter}" if model.adapter else ""
    return f"{model.model}{adapter}"


class Progress:
    """The answers so far and the time that the others will take, on a terminal."""

    def __init__(self) -> None:
        self.begun, self.first = time.monotonic(), 0

    def __call__(self, count: int, total: int = 0) -> None:
        self.first = self.first or count
        if not sys.stderr.isatty():
            return
        passed, since = time.monotonic() - self.begun, count - self.first + 1
        left = timedelta(seconds=round(passed / since * (total - count))) if total else None
        print(
            f"\r{count} of {total} answered, {left} left" if total else f"\r{count} answered", end="", file=sys.stderr
        )
        if count == total:
            print(file=sys.stderr)

    def of_line(self, line: dict[str, Any]) -> None:
        """Take a line of progress, as evaluations report it."""
        if line["step"]:
            self(line["step"], line.get("total_steps", 0))
