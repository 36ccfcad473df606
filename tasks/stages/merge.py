"""Stage `merge`: the adapter merged into the base as a plain model, with its logits compared to adapter on base.

What was trained by a tuner that cannot merge (`MERGES = False`), or on a base whose folder is quantized, stays an
adapter: the folder is then the base with the adapter in its sub-folder `adapter`, and whoever loads the folder applies
it. Into quantized weights nothing is merged, because rounding the sum would lose most of what was learned.

An adapter that was trained on weights quantized while they were loaded is merged into the weights as they are stored,
and merge.json says how far the two bases are apart. One that began with what the quantization took (LoftQ) is merged
into what the quantization left.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components import export, models, tuners
from components.config import Params
from components.config.groups.merge import Merge
from components.config.groups.method import NOT_JUDGED, TASKS
from components.config.groups.quantization import Quantization
from components.errors import ConfigError
from components.files import MANIFEST, read_json, replacing_folder, write_json, write_text
from tasks.loading import ADAPTER, is_embedding, load
from tasks.stages.media_rows import with_media
from tasks.stages.paths import Paths, plugin_files
from tasks.stages.runner import Result, main


def run(params: Params, paths: Paths) -> Result:
    """Write models/merged from models/adapter, the base of data/model.json and a few rows of data/tokens.

    Raises:
        ConfigError: the stages that follow cannot judge what was trained.
    """
    if params.method.task_type in TASKS:
        raise ConfigError(NOT_JUDGED)
    arguments, identity = read_json(paths.adapter / "args.json"), read_json(paths.model)
    files, base = plugin_files(params, paths.workspace), models.folder(identity, paths.workspace)
    samples = with_media(export.samples(paths.tokens), paths.tokens, paths.media, base, params.multimodal)
    with replacing_folder(paths.merged) as folder:
        merges = tuners.TUNERS.constant(params.tuner.tuner_type, "MERGES", True, files)
        put = merge_into if merges and not models.stored_quantization(base) else adapt_into
        proof = put(folder, base, paths.adapter, samples, params.merge, files)
        write_json(folder / "merge.json", {**proof, "base": identity})
        shutil.copy2(paths.adapter / "args.json", folder)  # says how the model wants to be asked
        write_card(folder, paths, identity, arguments, proof)
    return {"max_abs_difference": proof["read_back"]["max_abs_difference"]}


def write_card(
    folder: Path, paths: Paths, identity: dict[str, Any], arguments: dict[str, Any], proof: dict[str, Any]
) -> None:
    """Write the model card of a merged model: of its run, what is there.

    Args:
        paths: of the run.
        identity: the base.
        arguments: the content of the adapter's args.json.
        proof: the content of merge.json.
    """
    files = (paths.tokens / "template.json", paths.tokens / MANIFEST, paths.reports / "train.json", paths.methods)
    data, manifest, metrics, methods = (read_json(file) if file.is_file() else {} for file in files)
    sha256 = manifest["files"]["train.arrow"]["sha256"] if manifest else None
    parts = methods["merge"]["files"] if methods else {}
    groups = [name.removeprefix("parameters ") for name in parts if name.startswith("parameters ")]
    if not arguments.get("quantization", {}).get("quant_method"):
        groups = [group for group in groups if group != "quantization"]
    write_text(folder / "README.md", export.model_card(identity, arguments, data, sha256, metrics, proof, groups))


def merge_into(
    folder: Path, base: Path, adapter: Path, samples: export.Samples, merge: Merge, external: Sequence[Path] = ()
) -> dict[str, Any]:
    """Write the merged model into `folder`; return its size, the differences of the logits on the rows of `samples`,
    and how many greedy answers are those of the adapter on the base.

    Raises:
        ConfigError: the base is a folder of quantized weights.
        MartletError: the adapter does not fit the base, or the logits differ by more than the tolerance.
    """
    if method := models.stored_quantization(base):
        raise ConfigError(
            f"merge: {base} holds weights quantized by {method}, which an adapter cannot be added to; train on the "
            "unquantized model (with --quant_method, if memory is short), or serve the adapter on its base"
        )
    quantization, rows = _rounding(adapter), samples.rows
    adapted, tokenizer = load(base, adapter, "float32", None, quantization, external, unpacked=quantization is not None)
    expected, answers = export.logits(adapted, rows), export.greedy_answers(adapted, samples.prompts)
    model = tuners.tuner_of(adapter, external).merge(adapted)
    merged = export.require_close(
        "merged against adapter on base", expected, export.logits(model, rows), merge.merge_tolerance
    )
    export.save_merged(model, base, tokenizer, folder, merge.max_shard_size)
    models.copy_companions(base, folder, tokenizer)
    if is_embedding(adapter):
        export.save_pooling(model, folder, read_json(adapter / "args.json")["template"]["max_length"])
    stored = export.logits(model, rows)
    del adapted, model
    loaded = models.load_model(folder, "float32")
    read_back, greedy = export.logits(loaded, rows), export.greedy_answers(loaded, samples.prompts)
    del loaded
    return {
        "tolerance": merge.merge_tolerance,
        "rows": len(rows),
        **export.size(folder),
        "merged": merged,
        "read_back": export.require_close("read back against merged", stored, read_back, merge.merge_tolerance),
        f"stored_in_{export.stored_dtype(folder)}": export.compare(expected, read_back),
        "greedy": export.agreement(answers, greedy),
        **_against_quantized(base, adapter, rows, read_back, external),
    }


def adapt_into(
    folder: Path, base: Path, adapter: Path, samples: export.Samples, merge: Merge, external: Sequence[Path] = ()
) -> dict[str, Any]:
    """Write the base with the adapter in `adapter` into `folder`; return the size of the base, and the difference of
    the logits on the rows of `samples` after both are read back.

    Raises:
        MartletError: the adapter does not fit the base.
    """
    for file in (base / "config.json", *base.glob("*.safetensors"), *base.glob("*.safetensors.index.json")):
        shutil.copyfile(file, folder / file.name)
    shutil.copytree(adapter, folder / ADAPTER)
    dtype = None if models.stored_quantization(base) else "float32"  # kernels compute in the precision they are for
    adapted, tokenizer = load(base, adapter, dtype, external=external)
    models.copy_companions(base, folder, tokenizer)
    expected = export.logits(adapted, samples.rows)
    del adapted
    read_back, _ = load(folder, None, dtype, external=external)
    return {
        "tolerance": merge.merge_tolerance,
        "rows": len(samples.rows),
        **export.size(folder),
        "merged": None,
        "read_back": export.require_close(
            "read back against adapter on base", expected, export.logits(read_back, samples.rows), merge.merge_tolerance
        ),
    }


def _rounding(adapter: Path) -> Quantization | None:
    """Return the quantization that an adapter began with making up for, or None."""
    saved = read_json(adapter / "args.json")
    lora, tuner = saved.get("lora", {}), saved.get("tuner", {})
    if not tuners.makes_up_for_quantization(tuner.get("tuner_type", "lora"), lora.get("init_weights", "true")):
        return None
    return Quantization.model_validate(saved["quantization"])


def _against_quantized(
    base: Path, adapter: Path, rows: Sequence[Any], merged: list[Any], external: Sequence[Path]
) -> dict[str, Any]:
    """Return how far the merged model is from what was trained, where the base was quantized while it was loaded."""
    quantization = Quantization.model_validate(read_json(adapter / "args.json").get("quantization") or {})
    if not quantization.quant_method:
        return {}
    trained, _ = load(base, adapter, quantization=quantization, external=external)
    return {f"trained_on_{quantization.quant_method}": export.compare(export.logits(trained, rows), merged)}


if __name__ == "__main__":
    main("merge", run)
