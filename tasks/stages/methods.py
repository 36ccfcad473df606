"""The methods that a run uses: their files, ours or the user's, and the parameters of their families.

The stage `fetch` writes them to `data/methods.json`, by the stage that uses them, and `dvc.yaml` lists these keys as
parameters of the stages. So a method's file that changes is a changed stage, and a file that is not used is none. A
method is made of its file, of the methods that this file imports (DoRA wraps as LoRA does), and of the declarations of
the parameters that it reads.
"""

import ast
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from components import cache, export, inference, models, rewards, training, tuners, turns
from components.config import FAMILIES, LEAVES, Params, difference, value_answer
from components.errors import ConfigError
from components.files import sha256
from components.plugins import Kind
from components.tokens import SHAPES
from tasks.stages import beside
from tasks.stages.paths import plugin_files

OURS = Path(__file__).parents[2] / "components"
GROUPS = OURS / "config/groups"
OF_ANSWERS = ("generation.max_new_tokens",)
"""Parameters that training reads where its evaluations generate answers."""
ROLLOUT_CODE = (
    "components.inference", "components.rewards", "components.templates", "components.turns", "tasks.stages.rollouts",
    "tasks.stages.conversations", "tasks.stages.vllm_rollouts",
)  # fmt: skip
"""Modules that decide which answers are sampled, and what their rewards are."""
BESIDE_CODE = tuple(
    f"tasks.{name}" for name in ("loading", "prompts", "stages.beside", "stages.reward_models", "stages.text_models")
)
"""Modules that decide what models beside the one that is trained give."""
OF_ROLLOUTS = (
    *(f"generation.{name}" for name in ("temperature", "top_k", "top_p", "repetition_penalty", "stop_words")),
    "vllm.vllm_engine_kwargs",
)
"""Parameters that training reads where it learns from answers that it samples."""
VARIANTS = "quantize.variants"
MEETING = {
    "rollout.vllm_mode", "rollout.vllm_server_base_url", *(f"distributed.{name}" for name in training.MEETING),
}  # fmt: skip
"""Parameters that say where others are met, and decide nothing."""
SHARED_GROUPS = ("quantization", "towers")
"""Groups of parameters that code reads which all methods share."""
FAMILY_KINDS: tuple[Kind[Any], ...] = (tuners.TUNERS, training.OPTIMIZERS, training.CALLBACKS)
"""Kinds of methods that have groups of parameters of their own."""


def used(params: Params, workspace: Path) -> dict[str, Any]:
    """Return by stage what its methods are made of: `files` (name to sha256); for `train` also the `parameters` of the
    methods' families that are not the defaults, for `evaluate` those of the scorers, for each variant those of the
    quantizers, for `template` the `shape` of tokens that training learns from.

    Raises:
        ConfigError: there is no such method, or a user's file is not a complete one.
    """
    if sentences := problems(params, workspace):
        raise ConfigError("\n".join(sentences))
    files = plugin_files(params, workspace)
    pairs = _methods(params, files).items()
    stages: dict[str, Any] = {stage: {"files": _hashes(of_stage, files)} for stage, of_stage in pairs}
    stages["template"]["shape"] = training.METHODS.load(params.method.name, files).SHAPE
    changed = difference(params).items()
    of_answers = OF_ANSWERS if params.train.predict_with_generate else ()
    if stages["template"]["shape"] == "prompt" or params.method.name == "gkd":
        of_answers += OF_ROLLOUTS
        stages["train"]["files"]["rollouts"] = cache.code(*ROLLOUT_CODE)
    if beside.names(params):
        stages["train"]["files"]["models beside"] = cache.code(*BESIDE_CODE)
        stages["train"]["files"] |= beside.hashes(params, workspace)
    stages["train"]["parameters"] = {
        name: new
        for name, (_, new) in changed
        if (name.partition(".")[0] in FAMILIES or name in of_answers) and name not in MEETING
    }
    stages["evaluate"]["parameters"] = {name: new for name, (_, new) in changed if name.startswith("reward.")}
    of_quantizers = {name: new for name, (_, new) in changed if name.startswith("quantize.") and name != VARIANTS}
    for variant in params.quantize.variants:
        stages[f"quantize {variant}"]["parameters"] = of_quantizers
    return stages


def problems(params: Params, workspace: Path) -> list[str]:
    """Return what is wrong with the names of methods and the user's files, a sentence each; ours are not imported."""
    files, sentences = plugin_files(params, workspace), []
    sentences += [f"plugins.external_plugins: '{file}': no such file" for file in files if not file.is_file()]
    files = [file for file in files if file.is_file()]
    sentences += training.mixture_problems(params, files)
    for kind, name in dict.fromkeys(pair for pairs in _methods(params, files).values() for pair in pairs):
        try:
            if kind.file(name, files) in files:
                method = kind.load(name, files)
                if kind is training.METHODS and method.SHAPE not in SHAPES:
                    raise ConfigError(f"{method.__file__}: SHAPE is one of {', '.join(SHAPES)}, not '{method.SHAPE}'")
        except ConfigError as error:
            reply = None if any(file.stem == name for file in files) else value_answer(kind.parameter, name)
            sentences.append(f"{kind.parameter} '{name}': {reply}" if reply else str(error))
    return sentences


def unread(names: Iterable[str], params: Params, workspace: Path) -> list[str]:
    """Return a sentence for each of the parameters `names` that only methods read which the run does not use.

    What a user's file reads is not always seen, so a run with one has no such parameters.
    """
    files = plugin_files(params, workspace)
    pairs = [pair for pair in _methods(params, files)["train"] if pair[0] in FAMILY_KINDS]
    if any(not kind.file(name, files).is_relative_to(OURS) for kind, name in pairs):
        return []
    read = {part for kind, name in pairs for part, _ in _parts(kind, name, kind.file(name))}
    ours = {kind.parameter: _own_parts(kind) for kind in FAMILY_KINDS}
    sentences: list[str] = []
    for name in names:
        part = f"parameters {LEAVES[name].group}"
        readers = {
            flag: which
            for flag, parts in ours.items()
            if (which := [method for method, own in parts.items() if part in own])
        }
        if readers and part not in read and LEAVES[name].group not in SHARED_GROUPS:
            flags = " or ".join(f"--{flag} {' or '.join(which)}" for flag, which in readers.items())
            sentences.append(f"--{name} has no effect without {flags}")
    return sentences


def _own_parts(kind: Kind[Any]) -> dict[str, set[str]]:
    """Return our methods of a kind, each with the names of its parts."""
    files = {name: kind.file(name) for name in kind.names()}
    return {
        name: {part for part, _ in _parts(kind, name, file)}
        for name, file in files.items()
        if file.is_relative_to(OURS)
    }


def _methods(params: Params, files: list[Path]) -> dict[str, list[tuple[Kind[Any], str]]]:
    """Return by stage the methods that it uses: each kind, and the method's name."""
    method = (training.METHODS, params.method.name)
    loading: list[tuple[Kind[Any], str]] = [(tuners.TUNERS, params.tuner.tuner_type)]
    if params.quantization.quant_method:
        loading.append((models.QUANTIZATIONS, params.quantization.quant_method))
    scheduler = params.rollout.multi_turn_scheduler
    return {
        "template": [method, *_strategies(params)],
        "train": [
            method,
            *loading,
            (training.OPTIMIZERS, params.train.optimizer),
            *training.mixture_of(params, files).methods,
            *((rewards.REWARDS, name) for name in params.reward.reward_funcs),
            *([(turns.SCHEDULERS, scheduler)] if scheduler else []),
            *((training.METRICS, name) for name in params.train.eval_metric if params.train.predict_with_generate),
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
    parts = {name: file for kind, name in methods for name, file in _parts(kind, name, kind.file(name, files))}
    return {name: sha256(file) for name, file in sorted(parts.items())}


def _parts(kind: Kind[Any], name: str, file: Path) -> Iterator[tuple[str, Path]]:
    """Yield by name the files that a method is made of."""
    yield f"{kind.name} {name}", file
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Attribute) and node.attr in FAMILIES:  # params.lora
            yield f"parameters {node.attr}", GROUPS / f"{node.attr}.py"
        elif isinstance(node, ast.ImportFrom) and node.module == kind.package:
            for other in {alias.name for alias in node.names} & set(kind.names()):
                yield from _parts(kind, other, kind.file(other))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("components.config.groups."):
            group = str(node.module).rpartition(".")[2]
            yield f"parameters {group}", GROUPS / f"{group}.py"
