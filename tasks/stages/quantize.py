"""Make one quantized variant of the merged model, and measure what that costs."""

import sys
from functools import partial

from components import export, models
from components.config import Params
from components.files import read_json, replacing_folder, write_json
from tasks.stages.paths import Paths
from tasks.stages.runner import Result, main


def run(params: Params, paths: Paths, variant: str) -> Result:  # noqa: ARG001  # every stage is called alike
    """Read models/merged and a few rows of data/clean; write models/quantized/VARIANT."""
    method = export.quantizer(variant)
    tokenizer = models.load_tokenizer(paths.merged)
    rows = export.chat_rows(paths.clean / "train.parquet", tokenizer)
    expected = export.logits(models.load_model(paths.merged), rows)
    with replacing_folder(paths.quantized / variant) as folder:
        method.quantize(paths.merged, folder, rows)
        export.copy_companions(paths.merged, folder, tokenizer)
        model = models.load_model(folder)
        cost = export.compare(expected, export.logits(model, rows))
        size = export.require_smaller(paths.merged, folder, model, method.LAYER)
        report = {
            "variant": variant,
            "config": read_json(folder / "config.json")["quantization_config"],
            "rows": len(rows),
            **size,
            "against_merged": cost,
        }
        write_json(folder / "quantize.json", report)
    return {**size, **cost}


if __name__ == "__main__":
    variant = sys.argv[1] if len(sys.argv) > 1 else ""
    main(f"quantize@{variant}", partial(run, variant=variant))
