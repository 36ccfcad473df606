"""Exports outside of the pipeline, after the merge: quantized models as new folders, Modelfiles, uploads to a hub."""

from pathlib import Path
from typing import Any

from components import export, media, models
from components.config import Params
from components.errors import ConfigError
from components.files import replacing_folder, write_text
from components.hub.upload import require_token
from tasks import samples
from tasks.outputs import require_writable
from tasks.prompts import trained_with
from tasks.stages.paths import plugin_files
from tasks.stages.quantize import problems, quantize_into


def quantized(model: Path, variant: str, output: Path | None, params: Params) -> tuple[Path, dict[str, Any]]:
    """Quantize a model folder into `output`, by default beside it; return the new folder, and the stage's report with
    the speed of both models.

    Rows to calibrate on and to compare with are those of --dataset, or of the run that the folder lies in.

    Raises:
        ConfigError: naming every reason why the model cannot be quantized so; or the new folder may not be
            written.
    """
    if method := models.stored_quantization(model):
        raise ConfigError(f"quant_method: the weights in {model} are quantized already, by {method}; take the original")
    folder = (output or model.with_name(f"{model.name}-{variant}")).resolve()
    require_writable(folder, params.export.exist_ok, [model])
    files, settings = plugin_files(params, Path.cwd()), params.quantize
    if sentences := problems(model, variant, settings, files):
        raise ConfigError("\n".join(sentences))
    count = settings.quant_n_samples if export.calibrates(variant, files) else 0
    drawn = (
        samples.of_datasets(params, model, count)
        if params.data.dataset
        else samples.of_run(model.resolve().parent, model, count, params.template.max_length, params.multimodal)
    )
    with replacing_folder(folder) as temporary:
        report, speed = quantize_into(temporary, model, drawn, variant, settings, files)
    return folder, report | speed


def require_texts(model: Path) -> None:
    """Check that a model takes texts alone, as Ollama's Modelfile does.

    Raises:
        ConfigError: it has a tower.
    """
    if media.takes_media(model):
        raise ConfigError(
            f"--to_ollama: {model} sees or hears, and its towers would not be part of what a Modelfile describes; "
            "serve it with `martlet deploy`"
        )


def modelfile(model: Path, output: Path | None, params: Params) -> Path:
    """Write the Modelfile of a model folder into `output`, by default beside the model; return the file.

    Raises:
        ConfigError: the weights are quantized, the chat template cannot be written in Ollama's language, or the new
            folder exists already.
    """
    if method := models.stored_quantization(model):
        raise ConfigError(
            f"--to_ollama: Ollama reads plain weights, and those in {model} are quantized by {method}; take the "
            "original, which `ollama create --quantize q4_K_M` quantizes"
        )
    folder = (output or model.resolve().with_name(f"{model.name}-ollama")).resolve()
    require_writable(folder, params.export.exist_ok, [model])
    system = trained_with(model, params.template).system
    text = export.modelfile(model, str(model.resolve()), models.load_tokenizer(model), system)
    with replacing_folder(folder) as temporary:
        write_text(temporary / "Modelfile", text)
    return folder / "Modelfile"


def require_hub(params: Params) -> None:
    """Check that a result can be uploaded.

    Raises:
        ConfigError: naming every reason why not.
    """
    sentences: list[str] = []
    if not params.export.hub_model_id:
        sentences.append("--push_to_hub: to which repository? name it with --hub_model_id OWNER/NAME")
    if not params.data.use_hf:
        sentences.append("--push_to_hub: uploads go to the Hugging Face hub; add --use_hf true")
    try:
        require_token()
    except ConfigError as error:
        sentences.append(str(error))
    if sentences:
        raise ConfigError("\n".join(sentences))
