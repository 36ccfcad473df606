"""Stage `quantize`: one quantized variant of the merged model, with its logits compared to the merged model's."""

import shutil
import sys
from functools import partial
from pathlib import Path
from typing import Any

from components import export, models
from components.config import Params
from components.files import read_json, replacing_folder, write_json
from tasks.stages.paths import Paths, plugin_files
from tasks.stages.runner import Result, main


def run(params: Params, paths: Paths, variant: str) -> Result:
    """Write models/quantized/VARIANT from models/merged and a few rows of data/clean."""
    quantizer = export.QUANTIZERS.load(variant, plugin_files(params, paths.workspace))
    if params.model.trust_remote_code:
        models.allow_code(paths.merged)
    rows = export.chat_rows(paths.clean / "train.parquet", models.load_tokenizer(paths.merged))
    with replacing_folder(paths.quantized / variant) as folder:
        report = quantize_into(folder, paths.merged, rows, variant, quantizer)
    return {key: report[key] for key in ("quantized_layers", "bytes_before", "bytes_after")} | report["against_merged"]


def quantize_into(
    folder: Path, source: Path, rows: list[list[int]], variant: str, quantizer: export.Quantizer
) -> dict[str, Any]:
    """Write a quantized variant of the model folder `source` into `folder`; return the report on `rows` of token ids.

    Raises:
        MartletError: no layer was quantized, or the weights are not smaller.
    """
    expected = export.logits(models.load_model(source), rows)
    quantizer.quantize(source, folder, rows)
    models.copy_companions(source, folder, models.load_tokenizer(source))
    if (source / "args.json").is_file():  # says how the model wants to be asked
        shutil.copy2(source / "args.json", folder)
    model = models.load_model(folder)
    report = {
        "variant": variant,
        "config": read_json(folder / "config.json").get("quantization_config"),
        "rows": len(rows),
        **export.require_smaller(source, folder, model, quantizer.LAYER),
        "against_merged": export.compare(expected, export.logits(model, rows)),
    }
    write_json(folder / "quantize.json", report)
    return report


if __name__ == "__main__":
    variant = sys.argv[1] if len(sys.argv) > 1 else ""
    main(f"quantize@{variant}", partial(run, variant=variant))
