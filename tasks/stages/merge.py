"""Stage `merge`: the adapter merged into the base as a plain model, with its logits compared to adapter on base."""

from pathlib import Path
from typing import Any

from components import export, models
from components.config import Params
from components.config.groups.merge import Merge
from components.files import MANIFEST, read_json, replacing_folder, write_json, write_text
from tasks.loading import load, tuner_of
from tasks.stages.paths import Paths
from tasks.stages.runner import Result, main


def run(params: Params, paths: Paths) -> Result:
    """Write models/merged from models/adapter, the base of data/model.json and a few rows of data/tokens."""
    arguments, identity = read_json(paths.adapter / "args.json"), read_json(paths.model)
    rows = export.token_rows(paths.tokens / "train.arrow")
    with replacing_folder(paths.merged) as folder:
        proof = merge_into(folder, models.folder(identity, paths.workspace), paths.adapter, rows, params.merge)
        data, manifest = (read_json(paths.tokens / name) for name in ("template.json", MANIFEST))
        training_report = paths.reports / "train.json"
        metrics = read_json(training_report) if training_report.is_file() else {}
        sha256 = manifest["files"]["train.arrow"]["sha256"]
        write_json(folder / "merge.json", {**proof, "base": identity})
        write_text(folder / "README.md", export.model_card(identity, arguments, data, sha256, metrics, proof))
    return {"max_abs_difference": proof["merged"]["max_abs_difference"]}


def merge_into(folder: Path, base: Path, adapter: Path, rows: list[list[int]], merge: Merge) -> dict[str, Any]:
    """Write the merged model into `folder`; return the differences of the logits on `rows` of token ids.

    Raises:
        MartletError: the adapter does not fit the base, or the logits differ by more than the tolerance.
    """
    adapted, tokenizer = load(base, adapter, "float32")
    expected = export.logits(adapted, rows)
    model = tuner_of(adapter).merge(adapted)
    merged = export.require_close(
        "merged against adapter on base", expected, export.logits(model, rows), merge.merge_tolerance
    )
    export.save_merged(model, base, tokenizer, folder, merge.max_shard_size)
    stored = export.logits(model, rows)
    del adapted, model
    read_back = export.logits(models.load_model(folder, "float32"), rows)
    return {
        "tolerance": merge.merge_tolerance,
        "rows": len(rows),
        "merged": merged,
        "read_back": export.require_close("read back against merged", stored, read_back, merge.merge_tolerance),
        f"stored_in_{export.stored_dtype(folder)}": export.compare(expected, read_back),
    }


if __name__ == "__main__":
    main("merge", run)
