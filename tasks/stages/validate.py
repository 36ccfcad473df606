"""validate: the data gate. Rows that may be learned from, and a report that names every row that may not."""

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
    shutil.rmtree(paths.clean, ignore_errors=True)  # rows of an earlier run must not pass for this one's
    write_json(paths.log("validate") / "made_of.json", made_of(params, paths))
    spool = paths.clean.with_name(".gate.tmp")
    shutil.rmtree(spool, ignore_errors=True)
    spool.mkdir(parents=True)
    try:
        questions = data.read_questions(paths.questions)
        verdict = data.run_gate(
            paths.raw, spool, questions, params.validation, _model_folder(params, paths), params.run.dataset_num_proc
        )
        if params.validation.data_docs:
            data.check_expectations(verdict, paths.log("validate") / "data_docs")
        data.write_report(paths.reports, verdict)
        if verdict.closed:
            raise DataGateError(
                f"the data gate closed: {'; '.join(verdict.reasons)}; see {paths.reports / 'data.html'} "
                "(on_NAME says what happens to such rows: docs/gate.md)"
            )
        with replacing_folder(paths.clean, rows=verdict.rows()) as folder:
            verdict.write(folder)
        return verdict.rows()
    finally:
        shutil.rmtree(spool)


def _model_folder(params: Params, paths: Paths) -> Path | None:
    """Where the special tokens are found, if they are looked for."""
    if params.validation.on_special == "ignore" or not paths.model.exists():
        return None
    return models.folder(read_json(paths.model), paths.workspace)


def made_of(params: Params, paths: Paths) -> dict[str, Any]:
    """All that decides which rows are clean, by name; the same parts give the same rows and the same report."""
    model = _model_folder(params, paths)
    return {
        "rows": _hashes(paths.raw),
        "questions": _hashes(paths.questions),
        "special tokens": tokenizer_sha256(model) if model else None,
        **params.validation.model_dump(),
        "code": cache.code("components.data", "components.rows", "tasks.stages.validate"),
    }


def _hashes(folder: Path) -> dict[str, str]:
    """Of the files as they are; the manifest says what they were."""
    return {path.name: sha256(path) for path in sorted(folder.glob("*")) if path.name != MANIFEST}


if __name__ == "__main__":
    main("validate", run)
