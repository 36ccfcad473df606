"""validate: the data gate. Rows that may be learned from, and a report that names every row that may not."""

import shutil

from components import data
from components.config import Params
from components.errors import DataGateError
from components.files import replacing_folder
from tasks.stages.paths import Paths
from tasks.stages.runner import Result, main


def run(params: Params, paths: Paths) -> Result:
    shutil.rmtree(paths.clean, ignore_errors=True)  # rows of an earlier run must not pass for this one's
    tables = {split: data.read_table(paths.raw / f"{split}.parquet") for split in ("train", "val")}
    verdict = data.inspect(tables, data.read_questions(paths.questions), params.validation)
    if params.validation.data_docs:
        data.hold_expectations(verdict, params.validation)
    data.write_report(paths.reports, verdict)
    if verdict.closed:
        raise DataGateError(f"the data gate closed: {'; '.join(verdict.reasons)}; see {paths.reports / 'data.html'}")
    with replacing_folder(paths.clean, rows=verdict.rows()) as folder:
        for split in ("train", "val"):
            if rows := verdict.conversations(split):
                data.write_conversations(folder / f"{split}.parquet", rows)
    return verdict.rows()


if __name__ == "__main__":
    main("validate", run)
