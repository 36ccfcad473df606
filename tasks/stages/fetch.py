"""fetch: datasets, question sets, the model's identity and the methods in use, at versions that are written down.

It always looks, and leaves its outputs as they are when nothing has changed. A hub id keeps the commit that it was
first resolved to; remove `data/raw` and `.martlet/fetch.json` to look for a newer one.
"""

from pathlib import Path
from typing import Any

from components import data, models
from components.config import Params
from components.errors import ConfigError
from components.files import MANIFEST, is_complete, read_json, replacing_folder, sha256, write_json
from tasks.stages import methods
from tasks.stages.paths import Paths
from tasks.stages.runner import Result, main


def run(params: Params, paths: Paths) -> Result:
    _check(params)
    model, used = identity(params, paths), methods.used(params, paths.workspace)
    rows(params, paths)
    for file, content in ((paths.model, model), (paths.methods, used)):
        if not file.exists() or read_json(file) != content:
            write_json(file, content)
    return read_json(paths.raw / MANIFEST)["rows"]


def rows(params: Params, paths: Paths) -> None:
    """Fetch the datasets and the question sets; the model is not asked for."""
    _check(params)
    train, val, questions = _sources(params, paths)
    if not _is_current(paths.questions, questions, params, paths):
        found = data.collect_questions(questions, params.data, _scratch(paths))
        with _sealing(paths.questions, found, params, paths) as folder:
            for name, picked in found.tables.items():
                data.write_questions(folder / f"{name}.jsonl", picked)
    if not _is_current(paths.raw, [*train, *val], params, paths):
        found = data.collect_rows(train, val, params.data, _scratch(paths))
        with _sealing(paths.raw, found, params, paths) as folder:
            for name, picked in found.tables.items():
                if len(picked):
                    data.write_raw_rows(folder / f"{name}.parquet", picked)


def _check(params: Params) -> None:
    if not params.data.dataset:
        raise ConfigError("data.dataset is empty: name the training data, files or hub ids, with --dataset")
    if params.data.streaming:
        raise ConfigError(
            "data.streaming: a stream leaves nothing that could lie between the stages of a workspace; "
            "train on it with `martlet sft`, or set it to false"
        )


def changes(params: Params, paths: Paths) -> list[str]:
    """Which datasets and question sets are others than those that were fetched last."""
    recorded: dict[str, str] = {}
    for folder in (paths.raw, paths.questions):
        if (folder / MANIFEST).is_file():
            described = read_json(folder / MANIFEST)["sources"]
            recorded |= {one["spec"]: one.get("sha256") or one.get("revision") for one in described}
    named = [source for sources in _sources(params, paths) for source in sources]
    found = [f"{s.spec} changed" for s in named if s.spec in recorded and recorded[s.spec] != s.version]
    return found + [f"{s.spec} was not there before" for s in named if s.spec not in recorded]


def up_to_date(params: Params, paths: Paths) -> bool:
    """Whether `run` would leave its outputs as they are. Hub ids that were looked up before need no network."""
    if not (paths.model.exists() and paths.methods.exists()):
        return False
    if read_json(paths.model)["model"] != params.model.model:
        return False
    train, val, questions = _sources(params, paths)
    current = _is_current(paths.raw, [*train, *val], params, paths) and _is_current(
        paths.questions, questions, params, paths
    )
    used = methods.used(params, paths.workspace)
    return current and read_json(paths.methods) == used and read_json(paths.model) == identity(params, paths)


def _sources(params: Params, paths: Paths) -> list[list[data.Source]]:
    recorded = data.recorded_commits(paths.raw, paths.questions)
    specs = (params.data.dataset, params.data.val_dataset, params.data.eval_dataset)
    use_hf, custom = params.data.use_hf, custom_files(params, paths)
    return [data.resolve(s, paths.workspace, use_hf, recorded, _memo(paths), custom) for s in specs]


def custom_files(params: Params, paths: Paths) -> list[Path]:
    """The user's `dataset_info.json` files. Raises: ConfigError: one is not there."""
    given = [(name, paths.workspace / Path(name).expanduser()) for name in params.data.custom_dataset_info]
    files = [(name, path / "dataset_info.json" if path.is_dir() else path) for name, path in given]
    for name, file in files:
        if not file.is_file():
            raise ConfigError(f"data.custom_dataset_info: '{name}': no such file, and no dataset_info.json in it")
    return [file for _, file in files]


def _scratch(paths: Paths) -> Path:
    """Where rows lie on their way, on the disk that they will be written to."""
    paths.raw.parent.mkdir(parents=True, exist_ok=True)
    return paths.raw.parent


def identity(params: Params, paths: Paths) -> dict[str, Any]:
    """The model's identity; the commit of a hub's branch is looked up once."""
    name, revision, use_hf = params.model.model, params.model.model_revision, params.data.use_hf
    if name is None:
        raise ConfigError("model.model is not set: name the base model, a folder or a hub id, with --model")

    def look() -> dict[str, Any]:
        return models.resolve(name, revision, use_hf, paths.workspace)

    is_local = (paths.workspace / Path(name).expanduser()).is_dir()
    return look() if is_local else data.cached_value(_memo(paths), f"model {name}", [revision, use_hf], look)


def _memo(paths: Paths) -> Path:
    return paths.workspace / ".martlet/fetch.json"


def _inputs(sources: list[data.Source], params: Params, paths: Paths) -> str | None:
    custom = [sha256(file) for file in custom_files(params, paths)]
    return data.inputs_sha256(sources, [params.data.model_dump(), custom])


def _is_current(folder: Path, sources: list[data.Source], params: Params, paths: Paths) -> bool:
    inputs = _inputs(sources, params, paths)
    return inputs is not None and is_complete(folder) and read_json(folder / MANIFEST)["inputs"] == inputs


def _sealing(folder: Path, found: data.RowTables, params: Params, paths: Paths):
    return replacing_folder(folder, inputs=_inputs(found.sources, params, paths), **found.manifest)


if __name__ == "__main__":
    main("fetch", run)
