"""Quantized models as new folders, outside of the pipeline: what `martlet export` does after the merge."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components import export, models
from components.config.groups.quantize import Quantize
from components.errors import ConfigError
from components.files import replacing_folder
from tasks.samples import of_run
from tasks.stages.quantize import quantize_into
from tasks.target import require_outside


def quantized(
    model: Path, variant: str, output: Path | None, settings: Quantize, external: Sequence[Path] = ()
) -> tuple[Path, dict[str, Any]]:
    """Quantize a model folder into `output`, by default beside it; return the new folder, and the stage's report with
    the speed of both models.

    `external` are the user's files, which may define the quantizer `variant`.

    Raises:
        ConfigError: the model is quantized already, or the new folder exists already.
    """
    if method := models.stored_quantization(model):
        raise ConfigError(f"quant_method: the weights in {model} are quantized already, by {method}; take the original")
    folder = (output or model.with_name(f"{model.name}-{variant}")).resolve()
    if folder.exists():
        raise ConfigError(f"{folder} is there already: remove it, or name another with --output_dir")
    require_outside(folder)
    quantizer, samples = export.QUANTIZERS.load(variant, external), of_run(model.resolve().parent, model)
    with replacing_folder(folder) as temporary:
        report, speed = quantize_into(temporary, model, samples, variant, quantizer, settings)
    return folder, report | speed
