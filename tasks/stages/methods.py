"""The methods that a run uses: their files, ours or the user's, and the parameters of their families.

The stage `fetch` writes them to `data/methods.json`, by the stage that uses them, and `dvc.yaml` lists these keys as
parameters of the stages. So a method's file that changes is a changed stage, and a file that is not used is none.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components import export, inference, models, training, tuners
from components.config import Params, difference
from components.errors import ConfigError
from components.files import sha256
from components.plugins import Kind
from tasks.stages.paths import plugin_files

FAMILIES = ("lora", "loraplus", "galore", "lisa", "quantization", "distributed")
"""Groups of parameters that belong to methods of training."""


def used(params: Params, workspace: Path) -> dict[str, Any]:
    """Return by stage what its methods are made of: `files` (name to sha256); for `train` also the `parameters` of the
    methods' families that are not the defaults, for `template` the `shape` of tokens that training learns from.

    Raises:
        ConfigError: there is no such method.
    """
    files = plugin_files(params, workspace)
    stages: dict[str, Any] = {stage: {"files": _hashes(pairs, files)} for stage, pairs in _methods(params).items()}
    changed = difference(params).items()
    stages["train"]["parameters"] = {name: new for name, (_, new) in changed if name.partition(".")[0] in FAMILIES}
    stages["template"]["shape"] = training.METHODS.load(params.method.method, files).SHAPE
    return stages


def problems(params: Params, workspace: Path) -> list[str]:
    """Return what is wrong with the names of methods and the user's files, a sentence each; ours are not imported."""
    files, sentences = plugin_files(params, workspace), []
    sentences += [f"plugins.external_plugins: '{file}': no such file" for file in files if not file.is_file()]
    files = [file for file in files if file.is_file()]
    for kind, name in dict.fromkeys(pair for pairs in _methods(params).values() for pair in pairs):
        try:
            if kind.file(name, files) in files:
                kind.load(name, files)
        except ConfigError as error:
            sentences.append(str(error))
    return sentences


def _methods(params: Params) -> dict[str, list[tuple[Kind[Any], str]]]:
    """Return by stage the methods that it uses: each kind, and the method's name."""
    method = (training.METHODS, params.method.method)
    loading: list[tuple[Kind[Any], str]] = [(tuners.TUNERS, params.tuner.tuner_type)]
    if params.quantization.quant_method:
        loading.append((models.QUANTIZATIONS, params.quantization.quant_method))
    return {
        "template": [method, *_strategies(params)],
        "train": [
            method,
            *loading,
            (training.OPTIMIZERS, params.train.optimizer),
            *((training.CALLBACKS, name) for name in params.train.callbacks),
        ],
        "merge": loading,
        "evaluate": [(inference.ENGINES, params.generation.infer_backend)],
        **{f"quantize {variant}": [(export.QUANTIZERS, variant)] for variant in params.quantize.variants},
    }


def _strategies(params: Params) -> list[tuple[Kind[Any], str]]:
    """Return the strategies of the loss scale."""
    if params.template.loss_scale == "default":
        return []
    from components import (
        templates,
    )  # which imports NumPy, and whoever asks whether work is to do need not wait for that

    return [(templates.STRATEGIES, name) for name in templates.parse(params.template.loss_scale)[1]]


def _hashes(methods: Sequence[tuple[Kind[Any], str]], files: list[Path]) -> dict[str, str]:
    return {f"{kind.name} {name}": sha256(kind.file(name, files)) for kind, name in methods}
