"""Talk to a model, or answer a file of questions.

  martlet infer --adapters output/v0-…/checkpoint-100 --stream true --temperature 0 --max_new_tokens 64
  martlet infer --model models/base --val_dataset questions.jsonl --result_path answers.jsonl

A checkpoint brings its model and system prompt along. Without --adapters and --model the champion answers.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from apps.cli import target

PARAMETERS = (*target.PARAMETERS, "data.val_dataset", "run.result_path")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(arguments: argparse.Namespace, given: dict[str, Any]) -> None:
    from components.inference import chat, engine_for

    meant = target.merged(target.find(given))
    params = meant.params
    engine = engine_for(params.generation.infer_backend)(
        meant.model, meant.adapter, params.train.torch_dtype, params.train.attn_impl,
        params.generation.max_batch_size, params.generation.max_model_len,
    )  # fmt: skip
    try:
        if params.data.val_dataset:
            _answer_files(engine, params)
        else:
            chat(engine, params.template.system, target.generation(params), stdin=sys.stdin, stdout=sys.stdout)
    finally:
        engine.close()


def _answer_files(engine: Any, params: Any) -> None:
    import orjson

    from components.data import conversations
    from components.files import replacing
    from components.inference import infer_dataset

    result = Path(params.run.result_path or "result.jsonl")
    rows = conversations(params.data.val_dataset, params.template.system, Path.cwd())
    with replacing(result) as temporary, temporary.open("wb") as stream:
        count = 0
        for count, answered in enumerate(infer_dataset(engine, rows, target.generation(params)), 1):
            stream.write(orjson.dumps(answered) + b"\n")
            print(f"\r{count} answered", end="", file=sys.stderr)
    print(f"\n{count} answers in {result}")
