"""Stage `fetch`: datasets, question sets, the model's identity and the methods in use, at recorded versions.

The stage always runs, and leaves its outputs untouched when nothing has changed. A hub id keeps the commit that it was
first resolved to; remove `data/raw` and `.martlet/fetch.json` to fetch a newer one.
"""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from components import data, evaluation, models
from components.config import Params
from components.errors import ConfigError, did_you_mean
from components.files import MANIFEST, is_complete, read_json, replacing_folder, sha256, write_json
from components.media import FOLDER
from tasks.stages import methods
from tasks.stages.paths import Paths, plugin_files
from tasks.stages.question_sets import BENCHMARKS
from tasks.stages.runner import Result, main
from tasks.stages.scoring import checker


def run(params: Params, paths: Paths) -> Result:
    """Write data/raw, data/media, data/eval, data/model.json and data/methods.json; return the counts of rows."""
    _check(params)
    model, method_files = identity(params, paths), methods.used(params, paths.workspace)
    rows(params, paths)
    for file, content in ((paths.model, model), (paths.methods, method_files)):
        if not file.exists() or read_json(file) != content:
            write_json(file, content)
    return read_json(paths.raw / MANIFEST)["rows"]


def rows(params: Params, paths: Paths) -> None:
    """Fetch the datasets and the question sets, without the model."""
    _check(params)
    train, val, questions = _sources(params, paths)
    _question_sets(questions, params, paths)
    if not _rows_are_current([*train, *val], params, paths):
        collection = data.collect_rows(train, val, params.data, _scratch(paths))
        media = data.media.MediaStore(paths.media, _media_memo(paths), paths.workspace, params.data)
        with _sealed_folder(paths.raw, collection, params, paths) as folder:
            for name, table in collection.tables.items():
                if len(table):
                    data.write_raw_rows(folder / f"{name}.parquet", table, media)
            media.write(folder / data.media.LIST)
        media.remove_others()


def question_sets(params: Params, paths: Paths) -> None:
    """Fetch the question sets alone."""
    _question_sets(_own_questions(params, paths), params, paths)


def own_sets(params: Params, paths: Paths) -> list[str]:
    """Return the entries of `eval_dataset` that are no benchmarks of EvalScope's."""
    return [spec for spec in params.data.eval_dataset if spec not in benchmarks_of(params, paths)]


def _own_questions(params: Params, paths: Paths) -> list[data.Source]:
    """Return the sources of the user's question sets.

    Raises:
        ConfigError: one does not exist, or is the misspelt name of a benchmark.
    """
    own = own_sets(params, paths)
    try:
        return _resolved(own, params, paths)
    except ConfigError as error:
        names = evaluation.benchmarks.names()
        near = next((spec for spec in own if f"'{spec}'" in str(error) and re.fullmatch(r"[\w-]+", spec)), None)
        if near is None:
            raise
        raise ConfigError(
            f"eval_dataset: '{near}' is neither a file nor a dataset nor a benchmark{did_you_mean(near, names)}; "
            "`martlet eval --list` has the benchmarks"
        ) from error


def benchmarks_of(params: Params, paths: Paths) -> list[str]:
    """Return the benchmarks of EvalScope's that `eval_dataset` names; a file or folder of such a name is none."""
    names = evaluation.benchmarks.names()
    return [spec for spec in params.data.eval_dataset if spec in names and not (paths.workspace / spec).exists()]


def _benchmarks(params: Params, paths: Paths) -> dict[str, Any]:
    return evaluation.benchmarks.identity(benchmarks_of(params, paths), params.evaluate.eval_dataset_args)


def _question_sets(questions: list[data.Source], params: Params, paths: Paths) -> None:
    if _questions_are_current(questions, params, paths):
        return
    collection = data.collect_questions(questions, params.data, _scratch(paths))
    with _sealed_folder(paths.questions, collection, params, paths) as folder:
        media = data.media.MediaStore(folder / FOLDER, _media_memo(paths), paths.workspace, params.data)
        check = checker(params, plugin_files(params, paths.workspace))
        for name, table in collection.tables.items():
            data.write_questions(folder / f"{name}.jsonl", table, media, check)
        write_json(folder / BENCHMARKS, _benchmarks(params, paths))
        media.write(folder / data.media.LIST)
        with suppress(OSError):  # it holds media
            (folder / FOLDER).rmdir()


def _check(params: Params) -> None:
    if not params.data.dataset:
        raise ConfigError("data.dataset is empty: name the training data, files or hub ids, with --dataset")
    if params.data.streaming:
        raise ConfigError(
            "data.streaming: the stages of a workspace pass files on, and a stream writes none; "
            "train on the stream with `martlet sft`, or set streaming to false"
        )


def changes(params: Params, paths: Paths) -> list[str]:
    """Return a line for each dataset, question set or medium that is new or has changed since the last fetch."""
    versions: dict[str, str] = {}
    for folder in (paths.raw, paths.questions):
        if (folder / MANIFEST).is_file():
            entries = read_json(folder / MANIFEST)["sources"]
            versions |= {entry["spec"]: entry.get("sha256") or entry.get("revision") for entry in entries}
    sources = [source for group in _sources(params, paths) for source in group]
    changed = [f"{s.spec} changed" for s in sources if s.spec in versions and versions[s.spec] != s.version]
    for folder, kept in ((paths.raw, paths.media), (paths.questions, paths.questions / FOLDER)):
        changed += [f"{path} changed" for path in data.media.changed(folder, kept, _media_memo(paths))]
    return changed + [f"{s.spec} was not there before" for s in sources if s.spec not in versions]


def up_to_date(params: Params, paths: Paths) -> bool:
    """Return whether `run` would leave its outputs untouched. Hub ids resolved before need no network."""
    if not (paths.model.exists() and paths.methods.exists()):
        return False
    if read_json(paths.model)["model"] != params.model.model:
        return False
    train, val, questions = _sources(params, paths)
    current = _questions_are_current(questions, params, paths)
    current = current and _rows_are_current([*train, *val], params, paths)
    method_files = methods.used(params, paths.workspace)
    return current and read_json(paths.methods) == method_files and read_json(paths.model) == identity(params, paths)


def _sources(params: Params, paths: Paths) -> list[list[data.Source]]:
    """Return the sources of training, validation and evaluation data."""
    rows_of = [_resolved(specs, params, paths) for specs in (params.data.dataset, params.data.val_dataset)]
    return [*rows_of, _own_questions(params, paths)]


def _resolved(specs: list[str], params: Params, paths: Paths) -> list[data.Source]:
    commits = data.recorded_commits(paths.raw, paths.questions)
    custom, plugins = custom_files(params, paths), plugin_files(params, paths.workspace)
    return data.resolve(specs, paths.workspace, params.data.use_hf, commits, _memo(paths), custom, plugins)


def custom_files(params: Params, paths: Paths) -> list[Path]:
    """Return the user's `dataset_info.json` files.

    Raises:
        ConfigError: a file does not exist.
    """
    entries = [(name, paths.workspace / Path(name).expanduser()) for name in params.data.custom_dataset_info]
    files = [(name, path / "dataset_info.json" if path.is_dir() else path) for name, path in entries]
    for name, file in files:
        if not file.is_file():
            raise ConfigError(f"data.custom_dataset_info: '{name}': no such file, and no dataset_info.json in it")
    return [file for _, file in files]


def _scratch(paths: Paths) -> Path:
    """Return the folder for temporary files, on the disk of the outputs."""
    paths.raw.parent.mkdir(parents=True, exist_ok=True)
    return paths.raw.parent


def identity(params: Params, paths: Paths) -> dict[str, Any]:
    """Return the model's identity; the commit of a branch on a hub is looked up once and then remembered."""
    name, version = params.model.model, (params.model.model_revision, params.data.use_hf)
    if name is None:
        raise ConfigError("model.model is not set: name the base model, a folder or a hub id, with --model")

    def resolve() -> dict[str, Any]:
        return models.resolve(name, *version, paths.workspace, params.model.trust_remote_code)

    if (paths.workspace / Path(name).expanduser()).is_dir():
        return resolve()
    remembered = [*version, "code"] if params.model.trust_remote_code else [*version]
    return data.cached_value(_memo(paths), f"model {name}", remembered, resolve)


def _memo(paths: Paths) -> Path:
    return paths.workspace / ".martlet/fetch.json"


def _media_memo(paths: Paths) -> Path:
    return paths.workspace / ".martlet/media.json"


def _inputs(sources: list[data.Source], params: Params, paths: Paths) -> str | None:
    custom = [sha256(file) for file in custom_files(params, paths)]
    return data.inputs_sha256(sources, [params.data.model_dump(), custom])


def _is_current(folder: Path, sources: list[data.Source], params: Params, paths: Paths) -> bool:
    inputs = _inputs(sources, params, paths)
    return inputs is not None and is_complete(folder) and read_json(folder / MANIFEST).get("inputs") == inputs


def _questions_are_current(sources: list[data.Source], params: Params, paths: Paths) -> bool:
    """Return whether the question sets are those of the sources, and their media as they were."""
    return (
        _is_current(paths.questions, sources, params, paths)
        and (paths.questions / BENCHMARKS).is_file()
        and read_json(paths.questions / BENCHMARKS) == _benchmarks(params, paths)
        and data.media.is_current(paths.questions, paths.questions / FOLDER, _media_memo(paths))
    )


def _rows_are_current(sources: list[data.Source], params: Params, paths: Paths) -> bool:
    """Return whether the raw rows are those of the sources, and their media as they were."""
    return (
        _is_current(paths.raw, sources, params, paths)
        and paths.media.is_dir()
        and data.media.is_current(paths.raw, paths.media, _media_memo(paths))
    )


def _sealed_folder(folder: Path, collection: data.RowTables, params: Params, paths: Paths):
    return replacing_folder(folder, inputs=_inputs(collection.sources, params, paths), **collection.manifest)


if __name__ == "__main__":
    main("fetch", run)
