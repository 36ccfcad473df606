"""Put the adapter into the base's weights, prove by the logits that nothing changed, and write a plain model."""

from components import export, models, tuners
from components.config import Params
from components.files import MANIFEST, read_json, replacing_folder, write_json, write_text
from tasks.stages.paths import Paths
from tasks.stages.runner import Result, main


def run(params: Params, paths: Paths) -> Result:
    """Read models/adapter, data/model.json, the base and a few rows of data/tokens; write models/merged."""
    trained, identity = read_json(paths.adapter / "args.json"), read_json(paths.model)
    base, tolerance = models.folder(identity, paths.workspace), params.merge.merge_tolerance
    tokenizer = models.load_tokenizer(base)
    method = tuners.tuner(trained["tuner"]["train_type"])
    rows = export.token_rows(paths.tokens / "train.arrow")

    adapted = method.load(models.load_model(base, "float32"), paths.adapter)
    expected = export.logits(adapted, rows)
    model = method.merge(adapted)
    merged = export.require_close("merged against adapter on base", expected, export.logits(model, rows), tolerance)
    with replacing_folder(paths.merged) as folder:
        export.save_merged(model, base, tokenizer, folder, params.merge.max_shard_size)
        stored = export.logits(model, rows)
        del adapted, model
        read_back = export.logits(models.load_model(folder, "float32"), rows)
        proof = {
            "tolerance": tolerance,
            "rows": len(rows),
            "merged": merged,
            "read_back": export.require_close("read back against merged", stored, read_back, tolerance),
            f"stored_in_{export.stored_dtype(folder)}": export.compare(expected, read_back),
        }
        data, manifest = (read_json(paths.tokens / name) for name in ("template.json", MANIFEST))
        results = paths.reports / "train.json"
        metrics = read_json(results) if results.is_file() else {}
        sha256 = manifest["files"]["train.arrow"]["sha256"]
        write_json(folder / "merge.json", {**proof, "base": identity})
        write_text(folder / "README.md", export.model_card(identity, trained, data, sha256, metrics, proof))
    return {"max_abs_difference": merged["max_abs_difference"]}


if __name__ == "__main__":
    main("merge", run)
