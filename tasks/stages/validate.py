"""Stage `validate`: the data gate. Writes the clean rows, and a report that names every rejected row."""

import shutil
from pathlib import Path
from typing import Any

from components import cache, data, models
from components.config import Params
from components.errors import DataGateError
from components.files import MANIFEST, read_json, replacing_folder, sha256, write_json
from components.tokens import tokenizer_sha256
from tasks.stages.paths import Paths
from tasks.stages.runner import Result, main


def run(params: Params, paths: Paths) -> Result:
    """Check the rows in data/raw; write data/clean, reports/data.json and reports/data.html; return the counts of rows.

    Raises:
        DataGateError: the gate closed.
    """
    shutil.rmtree(paths.clean, ignore_errors=True)  # a closed gate must not leave the rows of an earlier run
    write_json(paths.log("validate") / "made_of.json", made_of(params, paths))
    scratch = paths.clean.with_name(".gate.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        questions = data.read_questions(paths.questions)
        verdict = data.run_gate(
            paths.raw, scratch, questions, params.validation, _model_folder(params, paths), params.run.dataset_num_proc,
            paths.media,
        )  # fmt: skip
        if params.validation.data_docs:
            data.check_expectations(verdict, paths.log("validate") / "data_docs")
        data.write_report(paths.reports, verdict)
        if verdict.closed:
            raise DataGateError(
                f"the data gate closed: {'; '.join(verdict.reasons)}; see {paths.reports / 'data.html'} "
                "(--on_NAME sets what a check does with its rows: docs/gate.md)"
            )
        with replacing_folder(paths.clean, rows=verdict.rows()) as folder:
            verdict.write(folder)
        return verdict.rows()
    finally:
        shutil.rmtree(scratch)


def _model_folder(params: Params, paths: Paths) -> Path | None:
    """Return the folder of the model whose special tokens are looked for, or None without that check or a model."""
    if params.validation.on_special == "ignore" or not paths.model.exists():
        return None
    return models.folder(read_json(paths.model), paths.workspace)


def made_of(params: Params, paths: Paths) -> dict[str, Any]:
    """Return all that decides which rows are clean, by name: equal values give equal rows and an equal report."""
    model = _model_folder(params, paths)
    return {
        "rows": _hashes(paths.raw),
        "questions": _hashes(paths.questions),
        "special tokens": tokenizer_sha256(model) if model else None,
        **params.validation.model_dump(),
        "code": cache.code("components.data", "components.media", "components.rows", "tasks.stages.validate"),
    }


def _hashes(folder: Path) -> dict[str, str]:
    """Return the sha256 of each file by name, read from the files: they may have changed since their manifest."""
    return {path.name: sha256(path) for path in sorted(folder.glob("*")) if path.name != MANIFEST}


if __name__ == "__main__":
    main("validate", run)
