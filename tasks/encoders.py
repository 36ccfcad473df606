"""Models that write no text: a classifier, which tells the classes of a text, and an embedding, which returns a vector.

encoder = encoder_of(target)       # None for a model that writes text
encoder({"messages": [{"role": "user", "content": "Will it rain?"}]})
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from components import models
from components.classes import CLASSIFIER, REGRESSION, SEVERAL, Classes
from components.config import Params
from components.errors import ConfigError
from components.files import read_json, replacing
from components.rows import Row
from tasks.answering import questions, result_file
from tasks.loading import classes_of, is_embedding, load
from tasks.prompts import prompts
from tasks.stages.paths import plugin_files
from tasks.target import Target

Encoder = Callable[[Row], dict[str, Any]]
"""From a row of `answering.questions` to what the model returns for its messages."""


def encoder_of(target: Target) -> Encoder | None:
    """Return a model that writes no text, in this process, or None for one that does.

    Raises:
        ConfigError: a system prompt for an embedding; or as `loading.load`.
        MartletError: as `loading.load`.
    """
    task = _task(target)
    if task == "embedding" and target.params.template.system:
        raise ConfigError("--system has no effect with an embedding, which takes texts as they are; leave it out")
    return {"seq_cls": _classifier, "embedding": _embedder}[task](target) if task else None


def require_text(target: Target) -> None:
    """Raise ConfigError if a model writes no text, which a server of chats is for."""
    if task := _task(target):
        what = {"seq_cls": "a classifier", "embedding": "an embedding"}[task]
        raise ConfigError(
            f"{target.adapter or target.model} is {what}, and a chat needs a model that writes text; ask it with "
            "`martlet infer`, or serve the merged folder with vLLM (`vllm serve FOLDER --runner pooling`)"
        )


def _task(target: Target) -> str | None:
    folder = target.adapter or target.model
    architectures = read_json(target.model / "config.json").get("architectures") or [""]
    if classes_of(folder) or architectures[0].endswith(CLASSIFIER):
        return "seq_cls"
    return "embedding" if is_embedding(folder) else None


def _loaded(target: Target) -> tuple[Any, Any]:
    params, files = target.params, plugin_files(target.params, Path.cwd())
    precision, attention = params.train.torch_dtype, params.train.attn_impl
    model, tokenizer = load(target.model, target.adapter, precision, attention, params.quantization, files)
    return model.eval(), tokenizer


def _classifier(target: Target) -> Encoder:
    import torch

    model, tokenizer = _loaded(target)
    (names, kind, _), ids_of = Classes.of(model.config), prompts(target.params.template)(tokenizer)

    def classify(row: Row) -> dict[str, Any]:
        """Return the `response`, which is the name of a class, a list of such names or a number, and the
        `probabilities` of all classes, the likeliest first."""
        ids = ids_of(_messages(row), row.get("tools"), row.get("chat_template_kwargs") or {}, True)
        if problem := _too_long(len(ids), target):
            return {"response": None, "error": problem}
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits[0].float()
        if kind == REGRESSION:
            return {"response": logits.item()}
        several = kind == SEVERAL
        shares = (logits.sigmoid() if several else logits.softmax(-1)).tolist()
        probabilities = dict(sorted(zip(names, shares, strict=True), key=lambda pair: -pair[1]))
        likely = [name for name, share in probabilities.items() if share > 0.5]
        return {"response": likely if several else next(iter(probabilities)), "probabilities": probabilities}

    return classify


def _embedder(target: Target) -> Encoder:
    import torch

    model, tokenizer = _loaded(target)

    def embed(row: Row) -> dict[str, Any]:
        """Return the `embedding`, a vector of length 1, and the `messages` that it is of: of a judged pair the first
        text."""
        messages = [{"role": "user", "content": row["anchor"]}] if "anchor" in row else _messages(row)
        ids: Any = tokenizer("\n".join(message["content"] for message in messages), return_tensors="pt")
        if problem := _too_long(ids["input_ids"].shape[1], target):
            return {"messages": messages, "embedding": None, "error": problem}
        with torch.no_grad():
            hidden = model(input_ids=ids["input_ids"].to(model.device), use_cache=False)[0]
        vector = torch.nn.functional.normalize(hidden[0, -1].float(), dim=-1)
        return {"messages": messages, "embedding": vector.tolist()}

    return embed


def _too_long(length: int, target: Target) -> str | None:
    """Return why a model cannot read a text of `length` tokens, or None."""
    limit = models.context_length(target.model)
    return f"the text has {length} tokens, and the model reads {limit}" if limit and length > limit else None


def _messages(row: Row) -> list[dict[str, Any]]:
    return row["messages"] + row.get("completion", [])


def encode_files(encoder: Encoder, params: Params, on_progress: Callable[[int], None]) -> tuple[int, Path]:
    """Write what a model returns for the rows of `--val_dataset` into `--result_path`; return the number of rows, and
    the file.

    A line has `messages`, `labels` (the row's own, or null) and the model's own keys, or an `error`; `on_progress` gets
    the number of rows so far.
    """
    import orjson

    result, count = result_file(params), 0
    with replacing(result.resolve()) as temporary, temporary.open("wb") as stream:
        for count, answer in enumerate(_answers(encoder, params), 1):
            stream.write(orjson.dumps(answer) + b"\n")
            on_progress(count)
    return count, result


def _answers(encoder: Encoder, params: Params) -> Iterator[dict[str, Any]]:
    for row in questions(params, texts=True):
        yield {"messages": _messages(row), "labels": row.get("label"), **encoder(row)}
