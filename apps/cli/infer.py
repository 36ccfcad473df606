"""Talk to a model, or answer a file of questions.

  martlet infer --adapters output/v0-…/checkpoint-100 --stream true --temperature 0 --max_new_tokens 64
  martlet infer --model models/base --val_dataset questions.jsonl --result_path answers.jsonl

A checkpoint brings its model and system prompt along. Without --adapters and --model the champion answers.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from apps.cli import target
from components.config import Params
from components.errors import DataGateError
from components.files import replacing

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


def _answer_files(engine: Any, params: Params) -> None:
    import orjson

    from components.inference import infer_dataset

    result = Path(params.run.result_path or "result.jsonl")
    with replacing(result) as temporary, temporary.open("wb") as stream:
        count = 0
        for count, answered in enumerate(infer_dataset(engine, _conversations(params), target.generation(params)), 1):
            stream.write(orjson.dumps(answered) + b"\n")
            if sys.stderr.isatty():
                print(f"\r{count} answered", end="", file=sys.stderr)
    print(f"{count} answers in {result}")


def _conversations(params: Params) -> list[list[dict[str, Any]]]:
    """The rows of --val_dataset in order, with the system prompt where a row has none.

    Raises:
        DataGateError: a row is in no known format, or asks nothing.
    """
    import orjson

    from components import data

    settings = params.data.model_copy(update={"dataset_shuffle": False, "split_dataset_ratio": 0.0})
    sources = data.resolve(params.data.val_dataset, Path.cwd(), params.data.use_hf, {}, Path(".martlet/fetch.json"))
    found = data.collect_rows(sources, [], settings, Path(tempfile.gettempdir()))
    system = [{"role": "system", "content": params.template.system}] if params.template.system else []
    rows: list[list[dict[str, Any]]] = []
    for source, number, raw in found.tables["train"]:
        try:
            row = data.to_row(orjson.loads(raw))
        except ValueError as error:
            raise DataGateError(f"{data.row_location(source, number)}: {error}") from error
        messages = row.get("messages") or row.get("prompt")
        if media := {"images", "videos", "audios"} & row.keys():
            place = data.row_location(source, number)
            raise DataGateError(f"{place}: its {min(media)} would not be shown to the model")
        if not messages:
            raise DataGateError(f"{data.row_location(source, number)}: asks nothing; a row needs messages or a query")
        rows.append(messages if messages[0]["role"] == "system" else [*system, *messages])
    return rows
