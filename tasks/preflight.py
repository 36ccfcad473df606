"""What cannot end well, found before anything runs: files and methods that are not there, settings that exclude each
other, and a base that cannot be trained so."""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from components import data, models, training, tuners
from components.config import Params
from components.config.groups.tracking import tracking_uri
from components.errors import ConfigError
from components.models import fitness
from tasks import effects
from tasks.stages import methods
from tasks.stages.paths import plugin_files

ADAPTERS = ("lora", "dora", "ia3")
TINY_BASE = "models/base"
"""The model of params.yaml as it comes, which is built here."""


def missing_files(params: Params, root: Path = Path()) -> list[str]:
    """Return a sentence for each dataset that is not there; local names are looked up from `root`."""
    problems: list[str] = []
    custom: list[Path] = []
    for name in params.data.custom_dataset_info:
        file = root / Path(name).expanduser()
        if file.exists():
            custom.append(file)
        else:
            problems.append(f"data.custom_dataset_info: '{name}': no such file")
    for leaf in ("dataset", "val_dataset", "eval_dataset"):
        for name in getattr(params.data, leaf):
            try:
                data.resolve([name], root, params.data.use_hf, {}, None, custom)
            except ConfigError as error:
                problems.append(f"data.{leaf}: {error}")
    return problems


def missing(params: Params, root: Path = Path()) -> list[str]:
    """Return a sentence for each dataset and each method that is not there."""
    return missing_files(params, root) + methods.problems(params, root)


def problems(params: Params, root: Path = Path(), typed: Iterable[str] = ()) -> list[str]:
    """Return a sentence for each reason why a training with `params` cannot end well, and for each of the parameters
    `typed` that has no effect in it; a base on a hub is looked at when it is here (stage `template`)."""
    sentences = missing(params, root) or [
        *effects.idle_in_training(typed, params, root),
        *conflicts(params, root),
    ]
    if params.model.model:
        sentences += _base(params.model.model, params, root)
    if params.tracking.report_to == "mlflow":
        try:
            tracking_uri(root)
        except ConfigError as error:
            sentences.append(str(error))
    return sentences


def _base(name: str, params: Params, root: Path) -> list[str]:
    if name == TINY_BASE and not (root / name).is_dir():
        return [f"model.model: there is no {name} yet; build it with `make base`, or name another model"]
    try:
        models.require_name(name, root)
    except ConfigError as error:
        return [str(error)]
    folder = root / Path(name).expanduser()
    if not folder.is_dir():
        return []
    return fitness.problems(folder, params) or _layers(folder, params)


def _layers(folder: Path, params: Params) -> list[str]:
    """Return what is wrong with the names of layers. The model is only made where its files do not have a name."""
    names = {*params.tuner.target_modules, *params.tuner.modules_to_save} - {"all-linear"}
    if params.tuner.tuner_type not in ADAPTERS or not fitness.lacks_tensors_of(folder, names):
        return []
    try:
        tuners.require_layers(models.skeleton(folder), params)
    except ConfigError as error:
        return [str(error)]
    return []


def conflicts(params: Params, root: Path = Path()) -> list[str]:
    """Return a sentence for each pair of settings that exclude each other; the names of the methods are right."""
    files, tuner, train = plugin_files(params, root), params.tuner.tuner_type, params.train
    is_ours = tuners.TUNERS.file(tuner, files) not in files
    sentences: list[str] = []
    for kind, names in ((training.OPTIMIZERS, [train.optimizer]), (training.CALLBACKS, train.callbacks)):
        for name in names:
            partners = kind.constant(name, "TUNERS", (), files)
            if partners and tuner not in partners and is_ours:
                works = f"works with --tuner_type {' or '.join(partners)}, not {tuner}"
                sentences.append(f"{kind.parameter}: {name} {works}")
    if params.quantization.quant_method and not tuners.TUNERS.constant(tuner, "QUANTIZED_BASE", True, files):
        sentences.append(
            f"tuner_type: {tuner} needs weights that are not quantized; use lora, or leave --quant_method out"
        )
    if params.quantize.variants and not tuners.TUNERS.constant(tuner, "MERGES", True, files):
        sentences.append(f"quantize.variants: an adapter of {tuner} is not merged, so nothing can be quantized; set []")
    if train.torch_dtype == "float16" and not _is_accelerated():
        sentences.append("torch_dtype: float16 needs an accelerator; on a CPU use float32 or bfloat16")
    if train.attn_impl == "flash_attention_2" and find_spec("flash_attn") is None:
        sentences.append("attn_impl: flash_attention_2 needs the package flash_attn, which is not installed; use sdpa")
    try:
        training.settled(params, default_learning_rate=1e-4)
    except ConfigError as error:
        sentences.append(str(error))
    return sentences


def _is_accelerated() -> bool:
    import torch

    return torch.accelerator.is_available()
