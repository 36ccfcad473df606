"""fetch: datasets, question sets and the model's identity, at versions that are written down.

It always looks, and leaves its outputs as they are when nothing has changed. A hub id keeps the commit that it was
first resolved to; remove `data/raw` and `.martlet/fetch.json` to look for a newer one.
"""

from pathlib import Path
from typing import Any

from components import data, models
from components.config import Params
from components.errors import ConfigError
from components.files import MANIFEST, is_complete, read_json, replacing_folder, write_json
from tasks.stages.paths import Paths
from tasks.stages.runner import Result, main


def run(params: Params, paths: Paths) -> Result:
    if not params.data.dataset:
        raise ConfigError("data.dataset is empty: name the training data, files or hub ids, with --dataset")
    train, val, questions = _sources(params, paths)
    model = _model(params, paths)
    if not _is_current(paths.questions, questions, params):
        found = data.collect_questions(questions, params.data, paths.workspace)
        with _sealing(paths.questions, found, params) as folder:
            for name, table in found.tables.items():
                data.write_questions(folder / f"{name}.jsonl", table)
    if not _is_current(paths.raw, [*train, *val], params):
        found = data.collect_rows(train, val, params.data, paths.workspace)
        with _sealing(paths.raw, found, params) as folder:
            for name, table in found.tables.items():
                if table.row:
                    data.write_table(folder / f"{name}.parquet", table)
    if not paths.model.exists() or read_json(paths.model) != model:
        write_json(paths.model, model)
    return read_json(paths.raw / MANIFEST)["rows"]


def up_to_date(params: Params, paths: Paths) -> bool:
    """Whether `run` would leave its outputs as they are. Hub ids that were looked up before need no network."""
    if not paths.model.exists() or read_json(paths.model)["model"] != params.model.model:
        return False
    train, val, questions = _sources(params, paths)
    current = _is_current(paths.raw, [*train, *val], params) and _is_current(paths.questions, questions, params)
    return current and read_json(paths.model) == _model(params, paths)


def _sources(params: Params, paths: Paths) -> list[list[data.Source]]:
    recorded = data.recorded_sources(paths.raw, paths.questions)
    specs = (params.data.dataset, params.data.val_dataset, params.data.eval_dataset)
    return [data.resolve(s, paths.workspace, params.data.use_hf, recorded, _memo(paths)) for s in specs]


def _model(params: Params, paths: Paths) -> dict[str, Any]:
    """The model's identity; the commit of a hub's branch is looked up once."""
    name, revision, use_hf = params.model.model, params.model.model_revision, params.data.use_hf
    if name is None:
        raise ConfigError("model.model is not set: name the base model, a folder or a hub id, with --model")

    def look() -> dict[str, Any]:
        return models.resolve(name, revision, use_hf, paths.workspace)

    is_local = (paths.workspace / Path(name).expanduser()).is_dir()
    return look() if is_local else data.remember(_memo(paths), f"model {name}", [revision, use_hf], look)


def _memo(paths: Paths) -> Path:
    return paths.workspace / ".martlet/fetch.json"


def _is_current(folder: Path, sources: list[data.Source], params: Params) -> bool:
    inputs = data.inputs_sha256(sources, params.data.model_dump())
    return inputs is not None and is_complete(folder) and read_json(folder / MANIFEST)["inputs"] == inputs


def _sealing(folder: Path, found: data.Collected, params: Params):
    inputs = data.inputs_sha256(found.sources, params.data.model_dump())
    return replacing_folder(folder, inputs=inputs, **found.manifest)


if __name__ == "__main__":
    main("fetch", run)
