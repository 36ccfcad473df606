"""Models that write no text: a classifier, which tells the classes of a text, and an embedding, which returns a vector.

with loaded(target) as engine:
    answer(engine, {"messages": [{"role": "user", "content": "Will it rain?"}]})
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components import models
from components.classes import Classes
from components.config import Params
from components.errors import ConfigError
from components.files import replacing
from components.inference.api import RequestError
from components.rows import Row
from tasks.answering import questions, result_file
from tasks.engines import LOCAL_BACKENDS
from tasks.loading import load, task_of
from tasks.prompts import prompts
from tasks.serving import served_name
from tasks.stages.paths import plugin_files
from tasks.target import Target

if TYPE_CHECKING:
    from components.inference.pooling import PoolingEngine

KINDS = {"seq_cls": "a classifier", "embedding": "an embedding"}


def is_encoder(target: Target) -> bool:
    """Return whether a model writes no text."""
    return task_of(target.model, target.adapter) is not None


def require_text(target: Target, what: str) -> None:
    """Raise ConfigError if a model writes no text, which `what` needs."""
    if task := task_of(target.model, target.adapter):
        raise ConfigError(f"{what} needs a model that writes text; {target.adapter or target.model} is {KINDS[task]}")


def loaded(target: Target) -> "PoolingEngine":
    """Return a model that writes no text, in this process.

    Raises:
        ConfigError: a system prompt for a model without a chat template; or as `loading.load`.
        MartletError: as `loading.load`.
    """
    from components.inference.pooling import PoolingEngine

    params, files = target.params, plugin_files(target.params, Path.cwd())
    if (backend := params.generation.infer_backend) not in LOCAL_BACKENDS:
        name = target.adapter or target.model
        raise ConfigError(f"--infer_backend {backend}: {name} writes no text; leave it out")
    precision, attention = params.train.torch_dtype, params.train.attn_impl
    is_classifier = task_of(target.model, target.adapter) == "seq_cls"
    if params.template.system and not is_classifier:
        raise ConfigError("--system has no effect with an embedding, which takes texts as they are; leave it out")
    model, tokenizer = load(target.model, target.adapter, precision, attention, params.quantization, files)
    classes = Classes.of(model.config) if is_classifier else None
    ids_of = prompts(params.template)(tokenizer) if is_classifier and tokenizer.chat_template else None
    lengths = filter(None, (params.generation.max_model_len, models.context_length(target.model)))
    return PoolingEngine(
        model, tokenizer, classes, ids_of, min(lengths, default=None), params.generation.max_batch_size
    )


@contextmanager
def deployed(target: Target, api_key: str | None) -> Generator[str]:
    """Serve a model that writes no text; enter with the base URL."""
    from components.inference.pooling_api import create_pooling_app
    from components.inference.server import listening

    settings = target.params.serve
    with loaded(target) as engine:
        app = create_pooling_app(engine, served_name(target.params), api_key, settings)
        with listening(app, settings.drain_timeout, settings.host, settings.port, api_key) as url:
            yield url


def answer(engine: "PoolingEngine", row: Row) -> dict[str, Any]:
    """Return what a model says of a row: of an embedding the `embedding`, a vector of length 1, and the `messages` that
    it is of; of a classifier the `response`, which is the name of a class, a list of such names or a number, and the
    `probabilities` of all classes, the likeliest first; or an `error`."""
    messages = [{"role": "user", "content": row["anchor"]}] if "anchor" in row else _messages(row)
    name = "response" if engine.classes else "embedding"
    own = {} if engine.classes else {"messages": messages}
    try:
        output = engine.submit(engine.row(messages, None, row.get("tools"), row.get("chat_template_kwargs"))).result()
    except RequestError as error:
        return {**own, name: None, "error": str(error)}
    if not engine.classes:
        return {**own, "embedding": output}
    label, shares = engine.verdict(output)
    if label is None:
        return {"response": shares[0]}
    by_name = sorted(zip(engine.classes.names, shares, strict=True), key=lambda pair: -pair[1])
    return {"response": label, "probabilities": dict(by_name)}


def _messages(row: Row) -> list[dict[str, Any]]:
    return row["messages"] + row.get("completion", [])


def encode_files(engine: "PoolingEngine", params: Params, on_progress: Callable[[int], None]) -> tuple[int, Path]:
    """Write what a model returns for the rows of `--val_dataset` into `--result_path`; return the number of rows, and
    the file.

    A line has `messages`, `labels` (the row's own, or null) and the model's own keys, or an `error`; `on_progress` gets
    the number of rows so far.
    """
    import orjson

    result, count = result_file(params), 0
    with replacing(result.resolve()) as temporary, temporary.open("wb") as stream:
        for count, line in enumerate(_answers(engine, params), 1):
            stream.write(orjson.dumps(line) + b"\n")
            on_progress(count)
    return count, result


def _answers(engine: "PoolingEngine", params: Params) -> Iterator[dict[str, Any]]:
    for row in questions(params, texts=True):
        yield {"messages": _messages(row), "labels": row.get("label"), **answer(engine, row)}
