"""Benchmarks that EvalScope registers: their list, their arguments, and a model's judged answers to them."""

import importlib.util
import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from components.errors import ConfigError, MartletError, did_you_mean
from components.evaluation._evalscope import (
    CONSOLE,
    LOG,
    OnProgress,
    Server,
    output_to,
    prepare,
    quietly_imported,
    results,
    run,
    text_of,
)
from components.evaluation.records import Record
from components.files import sha256_tree

NOT_ARGUMENTS = ("name", "data_adapter", "evaluation_version", "few_shot_mode", "allowed_few_shot_nums",
                 "supports_choice")  # fmt: skip
"""Fields of EvalScope's BenchmarkMeta that no argument may set."""
OWN_ARGUMENTS = ("local_path",)
MERGED = ("extra_params", "filters")
"""Fields whose entries are added to the benchmark's."""


class Benchmark(NamedTuple):
    """A benchmark: its name for `eval_dataset`, title, tags, metrics, number of items (None: not known), and the
    dataset's id on a hub."""

    name: str
    title: str
    tags: tuple[str, ...]
    metrics: tuple[str, ...]
    items: int | None
    dataset_id: str


@cache
def _folder() -> Path:
    """Return EvalScope's folder of benchmarks, without importing EvalScope, which takes seconds."""
    spec = importlib.util.find_spec("evalscope")
    assert spec and spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0], "benchmarks")


@cache
def names() -> frozenset[str]:
    """Return the names of all benchmarks."""
    return frozenset(json.loads((_folder() / "_index.json").read_text()))


def catalogue() -> list[Benchmark]:
    """Return all benchmarks, by name."""
    return [_described(name) for name in sorted(names())]


def _described(name: str) -> Benchmark:
    file = _folder() / f"_meta/{name}.json"
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {"meta": {}}
    meta, statistics = content["meta"], content.get("statistics") or {}
    metrics = [metric if isinstance(metric, str) else next(iter(metric), "") for metric in meta.get("metrics") or []]
    items = statistics.get("total_samples")
    tags = tuple(meta.get("tags") or ())
    return Benchmark(name, meta.get("pretty_name") or name, tags, tuple(metrics), items, meta.get("dataset_id") or "")


def identity(benchmarks: Sequence[str], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return by benchmark what decides about its questions, as JSON: EvalScope's version, the arguments, and the hash
    of a local copy's files."""
    described: dict[str, Any] = {}
    for name in benchmarks:
        options = arguments.get(name, {})
        copy = Path(options["local_path"]) if "local_path" in options else None
        data = sha256_tree(copy) if copy and copy.is_dir() else None
        described[name] = {"evalscope": version("evalscope"), "arguments": options, "data": data}
    return described


def require_arguments(benchmarks: Sequence[str], arguments: Mapping[str, Any]) -> None:
    """Check the arguments of benchmarks, by the benchmark's name; EvalScope itself would ignore a misspelt one.

    Raises:
        ConfigError: naming every problem.
    """
    problems = [
        f"eval_dataset_args: '{name}' is not among the benchmarks of eval_dataset{did_you_mean(name, benchmarks)}"
        for name in arguments
        if name not in benchmarks
    ]
    for name in benchmarks:
        options = arguments.get(name, {})
        if not isinstance(options, Mapping):
            problems.append(f"eval_dataset_args: {name}: a mapping of arguments, not {options!r}")
            continue
        problems += _problems(name, options)
    if problems:
        raise ConfigError("\n".join(problems))


def _problems(name: str, options: Mapping[str, Any]) -> list[str]:
    meta = quietly_imported(lambda: _meta(name))
    fields = [field for field in meta.__dataclass_fields__ if field not in NOT_ARGUMENTS]
    fields += OWN_ARGUMENTS
    problems = [
        f"eval_dataset_args: {name}: unknown argument '{key}'{did_you_mean(key, fields)}" for key in options
        if key not in fields
    ]  # fmt: skip
    extra = options.get("extra_params", {})
    problems += [
        f"eval_dataset_args: {name}: unknown extra_params '{key}'{did_you_mean(key, list(meta.extra_params))}"
        for key in extra
        if key not in meta.extra_params
    ]
    if (local := options.get("local_path")) and not Path(local).exists():
        problems.append(f"eval_dataset_args: {name}: local_path {local}: no such folder")
    if not problems and options:
        try:
            replace(meta, **{key: value for key, value in options.items() if key not in (*OWN_ARGUMENTS, *MERGED)})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            problems.append(f"eval_dataset_args: {name}: {error}")
    return problems


def _meta(name: str) -> Any:
    """Return a copy of EvalScope's description of a benchmark."""
    from copy import deepcopy

    from evalscope.api.registry import BENCHMARK_REGISTRY

    return deepcopy(BENCHMARK_REGISTRY[name])


def ask_benchmarks(
    server: Server,
    benchmarks: Sequence[str],
    arguments: Mapping[str, Any],
    work_dir: Path,
    model_identity: Any,
    on_progress: OnProgress = lambda _: None,
    judge: Mapping[str, Any] | None = None,
    **config: Any,
) -> list[Record]:
    """Return the answers of a served model to benchmarks, each judged by the benchmark's own metric.

    Args:
        arguments: by benchmark, EvalScope's `dataset_args`.
        work_dir, model_identity, on_progress: as `ask` has them; each benchmark has a folder of its own in `work_dir`.
        judge: EvalScope's `judge`; keys in it are kept nowhere.
        config: further fields of EvalScope's TaskConfig, such as `limit`, `generation_config`, `eval_batch_size`.

    Raises:
        MartletError: the data of a benchmark cannot be loaded, the server failed, or a metric could not be computed.
    """
    settings = config | {"generation_config": {"retries": 1, **config.get("generation_config", {})}}
    records: list[Record] = []
    for benchmark in benchmarks:
        folder = work_dir / benchmark
        judges = [[model["model_id"], model["api_url"]] for model in (judge or {}).get("models", [])]
        of_run = [identity([benchmark], arguments), config, judges, model_identity, server.model]
        is_continued = prepare(folder, of_run)
        with output_to(folder / CONSOLE):
            quietly_imported(lambda: __import__("evalscope.run"))
            arguments_of_one = {benchmark: dict(arguments.get(benchmark, {}))}
            try:
                with _data_cache(folder / "datasets"):
                    run(server, folder, is_continued, [benchmark], None, on_progress,
                        dataset_args=arguments_of_one, judge=dict(judge or {}), **settings)  # fmt: skip
            except MartletError as error:
                if (folder / "predictions").is_dir():
                    raise MartletError(f"{benchmark}: {error}") from error
                raise MartletError(
                    f"{benchmark}: its data could not be loaded{_advice(benchmark, arguments_of_one)} "
                    f"(see {folder / LOG})"
                ) from error
            records += _records(server, benchmark, folder)
    return records


@contextmanager
def _data_cache(folder: Path) -> Generator[None]:
    """Let the library datasets (4.8) keep what it reads in `folder`: its own cache takes a local copy for another copy
    of the same name, whatever the files hold."""
    from datasets import config

    before, config.HF_DATASETS_CACHE = config.HF_DATASETS_CACHE, folder
    try:
        yield
    finally:
        config.HF_DATASETS_CACHE = before


def _advice(benchmark: str, arguments: Mapping[str, Any]) -> str:
    if "local_path" in arguments[benchmark]:
        return ""
    named = json.dumps({benchmark: {"local_path": "FOLDER"}})
    return f"; where there is no hub, name a copy of the data with --eval_dataset_args '{named}'"


def _records(server: Server, benchmark: str, folder: Path) -> list[Record]:
    """Return what EvalScope's reviews of a benchmark say, the subsets in order of their names."""
    records: list[Record] = []
    for file in sorted((folder / "reviews" / server.model).glob(f"{benchmark}_*.jsonl")):
        subset = file.stem.removeprefix(f"{benchmark}_")
        for _, review in sorted(results(file).items()):
            where = f"evaluation of {server.model}: {benchmark}, {subset}, item {review['index'] + 1}"
            records.append(_record(review, benchmark, subset, len(records), f"{where} (see {folder / LOG})"))
    if not records:
        raise MartletError(f"{benchmark}: EvalScope found no items (see {folder / LOG})")
    return records


def _record(review: Mapping[str, Any], benchmark: str, subset: str, item: int, where: str) -> Record:
    message, score = review["messages"][-1], review["sample_score"]["score"]
    metrics = message.get("perf_metrics")
    if metrics is None:  # EvalScope returns an error of the server as the answer
        raise MartletError(f"{where}: refused by the server: {text_of(message)}")
    errors = (score.get("metadata") or {}).get("metric_errors")
    if score["status"] != "success" or errors or not score["value"]:
        raise MartletError(f"{where}: could not be scored: {errors or score.get('metadata')}")
    metric = score.get("main_score_name") or next(iter(score["value"]))
    prompt = [text_of(each) for each in review["messages"][:-1] if each["role"] != "assistant"]
    return {
        "set": benchmark,
        "item": item,
        "query": "\n\n".join(prompt),
        "answer": score.get("prediction") or text_of(message),
        "reference": "\n".join(review.get("target") or []),
        "score": float(score["value"][metric]),
        "answer_tokens": int(metrics["output_tokens"]),
        "latency_s": round(metrics["latency"], 6),
        "scorer": metric,
        "topic": subset,
    }
